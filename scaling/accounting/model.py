"""Parameters by group, FLOPs, and bytes of a model.

Three parameter counts are kept because laws in the literature use different ones, and for phone-size students, whose
embedding dominates, the choice changes the exponents (Porian et al. 2024, arXiv 2406.19146; Pearce & Song 2024,
arXiv 2406.12907).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from scaling.accounting.storage import Storage, tensor_bytes
from scaling.dimensions import Decoder, Dimensions


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Parameters of one model by group, and the three totals that laws use.

    Attributes:
        embedding: token table, ``V·M``.
        attention: query, key, value and output matrices of all layers.
        mlp: gate, up and down matrices of all layers.
        norms: RMSNorm gains.
        head: output matrix, ``V·M``, or 0 where it is tied to the embedding.
    """

    embedding: int
    attention: int
    mlp: int
    norms: int
    head: int
    head_matrix: int

    @property
    def n_params(self) -> int:
        """N without embedding and output head (Kaplan's and Busbridge's convention)."""
        return self.attention + self.mlp + self.norms

    @property
    def n_params_linear(self) -> int:
        """Weights that a token is multiplied with, output head included (Porian's convention)."""
        return self.attention + self.mlp + self.head_matrix

    @property
    def n_params_total(self) -> int:
        """Every stored parameter, a tied table once: what memory depends on."""
        return self.embedding + self.attention + self.mlp + self.norms + self.head


def count_parameters(model: Dimensions) -> ParameterCount:
    """Count the parameters of a model by group.

    ``attention = L·M·K·(2H + 2H_kv)``, ``mlp = 3·L·M·F``, ``norms = (2L + 1)·M``, ``embedding = V·M``.
    """
    m, layers = model.width, model.n_layers
    table = model.vocab_size * m
    return ParameterCount(
        embedding=table,
        attention=layers * m * model.head_width * 2 * (model.n_heads + model.n_kv_heads),
        mlp=3 * layers * m * model.hidden,
        norms=(2 * layers + 1) * m,
        head=0 if model.tied_embeddings else table,
        head_matrix=table,
    )


def forward_flops(model: Dimensions, context: int | None = None) -> int:
    """FLOPs of one token's forward pass, averaged over a full causal context.

    ``2·n_params_linear + 2·L·H·K·T``: two per weight of every linear layer and of the output head, and scores and
    mixing of attention, halved because a causal token sees half of the context on average. Norms, rotations and
    softmax are left out (under 1 % at any width).

    Args:
        model: The model.
        context: T, tokens of one sequence; by default the model's training context.

    Source: Porian et al. 2024, arXiv 2406.19146 (Appendix on FLOP counts).
    """
    t = model.context if context is None else context
    return 2 * count_parameters(model).n_params_linear + 2 * model.n_layers * model.n_heads * model.head_width * t


def training_flops(model: Dimensions, n_tokens: int) -> int:
    """C, exact FLOPs of a training: three forward passes (one forward, two backward) a token."""
    return 3 * forward_flops(model) * n_tokens


def training_flops_6nd(model: Dimensions, n_tokens: int) -> int:
    """The usual approximation ``6·N·D`` with N non-embedding; off by 20–60 % for small models, kept for comparison."""
    return 6 * count_parameters(model).n_params * n_tokens


def kv_cache_bytes(model: Dimensions, context: int, *, value_bytes: float = 2.0) -> int:
    """Bytes of the key–value cache: ``2·L·H_kv·K·context·value_bytes`` (2 for f16, 34/32 for q8_0)."""
    return round(2 * model.n_layers * model.n_kv_heads * model.head_width * context * value_bytes)


def tensor_shapes(model: Dimensions) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a model under their GGUF names, matrices as [out, in].

    ``output.weight`` is absent where the head is tied, which is how GGUF says it.
    """
    shapes, block = outer_shapes(model), layer_shapes(model)
    for i in range(model.n_layers):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in block.items()}
    return shapes


def misfit(model: Dimensions, tensors: Mapping[str, Any]) -> str | None:
    """What of some tensors, arrays of any kind, are not those of a model: part of a sentence; None where all fit."""
    expected, found = tensor_shapes(model), {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [
        f"{name} is {found.get(name, 'absent')}, not {expected.get(name, 'in this architecture')}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    ]
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"tensors do not fit the model — {'; '.join(wrong[:3])}{more}" if wrong else None


def outer_shapes(model: Dimensions) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that belong to no layer, under their GGUF names."""
    table = (model.vocab_size, model.width)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": table, "output_norm.weight": (model.width,)}
    return shapes if model.tied_embeddings else {**shapes, "output.weight": table}


def layer_shapes(model: Dimensions) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of one layer, matrices as [out, in]."""
    m, f = model.width, model.hidden
    q, kv = model.n_heads * model.head_width, model.n_kv_heads * model.head_width
    return {
        "attn_norm": (m,), "attn_q": (q, m), "attn_k": (kv, m), "attn_v": (kv, m), "attn_output": (m, q),
        "ffn_norm": (m,), "ffn_gate": (f, m), "ffn_up": (f, m), "ffn_down": (m, f),
    }  # fmt: skip


def weights_bytes(model: Dimensions, storage: Storage) -> int:
    """Bytes of all tensors of a model, without the metadata of a file."""
    return over_tensors(model, lambda shape: tensor_bytes(shape, storage))


def over_tensors(model: Dimensions, count: Callable[[tuple[int, ...]], int]) -> int:
    """The sum of a count over all tensors; layers are alike, so one of them is counted."""
    layer = sum(map(count, layer_shapes(model).values()))
    return sum(map(count, outer_shapes(model).values())) + model.n_layers * layer


def described_bytes(model: Dimensions) -> int:
    """Bytes of a model's dimensions as JSON, as files without a header of their own keep them."""
    return len(json.dumps({name: getattr(model, name) for name in DIMENSIONS}, separators=(",", ":")))


DIMENSIONS = tuple(field.name for field in fields(Decoder))


def decode_bytes(model: Dimensions, storage: Storage, *, position: int = 0) -> int:
    """Bytes an engine reads to write one token: every matrix once, and the f16 cache of the positions before.

    Of a separate token table only one row is read; a tied table is read whole, because it is the output head as well.
    """
    table = 0 if model.tied_embeddings else tensor_bytes((model.vocab_size, model.width), storage)
    return weights_bytes(model, storage) - table + kv_cache_bytes(model, position)
