"""The peer: the same llama in PyTorch, as its users write it. Runs under a Python that has torch and nothing of ours.

RMSNorm before each branch, interleaved RoPE, SwiGLU, grouped queries by ``F.scaled_dot_product_attention``, a tied
table; AdamW (fused) and clipping to a global norm; float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """Attention and SwiGLU, each added to the residual stream."""

    def __init__(self, width: int, hidden: int, n_heads: int, n_kv_heads: int, head_width: int):
        super().__init__()
        self.splits = [n_heads * head_width, n_kv_heads * head_width, n_kv_heads * head_width]
        self.head_width = head_width
        self.attn_norm = nn.RMSNorm(width, eps=1e-5)
        self.attn_qkv = nn.Linear(width, sum(self.splits), bias=False)
        self.attn_output = nn.Linear(n_heads * head_width, width, bias=False)
        self.ffn_norm = nn.RMSNorm(width, eps=1e-5)
        self.ffn_gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.ffn_down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        parts = self.attn_qkv(self.attn_norm(x)).split(self.splits, dim=-1)
        q, k, v = (part.view(b, t, -1, self.head_width).transpose(1, 2) for part in parts)
        grouped = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
        mixed = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, **grouped)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(b, t, -1))
        gate, up = self.ffn_gate_up(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.ffn_down(F.silu(gate) * up)


class Llama(nn.Module):
    """A decoder of the given sizes with a tied table."""

    def __init__(
        self,
        *,
        vocab_size: int,
        width: int,
        hidden: int,
        n_layers: int,
        n_heads: int,
        n_kv_heads: int,
        head_width: int,
        context: int,
    ):
        super().__init__()
        self.token_embd = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.token_embd.weight, std=32**-0.5)
        sizes = (width, hidden, n_heads, n_kv_heads, head_width)
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(n_layers))
        self.output_norm = nn.RMSNorm(width, eps=1e-5)
        angle = torch.arange(context)[:, None] * 10_000.0 ** (-torch.arange(0, head_width, 2) / head_width)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.token_embd(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.linear(self.output_norm(x), self.token_embd.weight)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate each pair (2i, 2i+1) by its position's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def make_step(sizes: dict[str, int], tokens, targets, *, compiled: bool) -> Callable[[], torch.Tensor]:
    """A training step on one batch; it returns the loss."""
    torch.manual_seed(0)
    model = Llama(**sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    tokens, targets = (torch.from_numpy(part).long() for part in (tokens, targets))

    def loss_of() -> torch.Tensor:
        return F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step
