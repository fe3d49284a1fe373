"""The student's forward pass, open at every place where compression looks in or changes something.

It computes what :class:`~scaling.train.student.model.Student` computes, more slowly: gains are
multiplied into activations, as an engine does it, not into weights. A tap sees each place under its name and returns
what goes on from there.

Shape suffixes as in ``train/student/model.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np

from scaling.train.student.kernels import attend, rms_normalise
from scaling.train.student.model import Block, Student, embed, rope_table

Tap = Callable[[str, jax.Array], jax.Array]
"""``(place, value)`` to the value that takes its place. Places of block i, in order:

- ``blk.i``: the residual stream [B, T, M] that it reads
- ``blk.i.attn_in``, ``blk.i.ffn_in``: normalised, what queries, keys and values, or gate and up are made of, [B, T, M]
- ``blk.i.q``, ``blk.i.k``, ``blk.i.v``: heads after rotation, [B, H or J, T, K]
- ``blk.i.heads``: what the heads say, side by side, [B, T, H·K]
- ``blk.i.hidden``: neurons of SwiGLU [B, T, F]

and then ``stream``, what the last norm reads, and ``output_in``, what the output head reads, [B, T, M]."""


def unchanged(place: str, value: jax.Array) -> jax.Array:
    """The tap that does nothing."""
    return value


def forward(
    student: Student, tokens_BT: jax.Array, tap: Tap = unchanged, *, without_shortcut: Collection[int] = ()
) -> jax.Array:
    """Logits float32[B, T, V] of the token after each of ``tokens_BT: int32[B, T]``.

    Args:
        student: Its parameters.
        tokens_BT: What is read.
        tap: Called at each place.
        without_shortcut: Blocks whose input does not go around them: only what their feed-forward writes goes on.
    """
    model = student.model
    x_BTM = embed(student.token_embd[...], tokens_BT)
    for i, block in enumerate(student.blocks):
        x_BTM = tap(f"blk.{i}", x_BTM)
        into_BTM = _normed(x_BTM, block.attn_norm[...], model.norm_eps)
        said_BTX = _heads(block, student, tap(f"blk.{i}.attn_in", into_BTM), i, tap)
        # A shortcut that is cut is one of the block, not of one branch: neither carries the input on.
        has_shortcut = i not in without_shortcut
        x_BTM = has_shortcut * x_BTM + said_BTX @ block.attn_output[...]
        into_BTM = tap(f"blk.{i}.ffn_in", _normed(x_BTM, block.ffn_norm[...], model.norm_eps))
        gate_BTF, up_BTF = jnp.split(into_BTM @ block.ffn_gate_up[...], 2, axis=-1)
        hidden_BTF = tap(f"blk.{i}.hidden", jax.nn.silu(gate_BTF) * up_BTF)
        x_BTM = has_shortcut * x_BTM + hidden_BTF @ block.ffn_down[...]
    head_VM = student.token_embd if student.output is None else student.output
    last_BTM = _normed(tap("stream", x_BTM), student.output_norm[...], model.norm_eps)
    return tap("output_in", last_BTM) @ head_VM[...].T


def _heads(block: Block, student: Student, into_BTM: jax.Array, i: int, tap: Tap) -> jax.Array:
    """What the heads of a block say, side by side."""
    model, (b, t, _) = student.model, into_BTM.shape
    h, j = model.n_heads, model.n_kv_heads
    heads_BXTK = (into_BTM @ block.attn_qkv[...]).reshape(b, t, h + 2 * j, model.head_width).swapaxes(1, 2)
    q_BHTK, k_BJTK, v_BJTK = jnp.split(heads_BXTK, [h, h + j], axis=1)
    q_BHTK, k_BJTK = (_rotated(part, *rope_table(model, t)) for part in (q_BHTK, k_BJTK))
    q_BHTK, k_BJTK, v_BJTK = (tap(f"blk.{i}.{n}", x) for n, x in (("q", q_BHTK), ("k", k_BJTK), ("v", v_BJTK)))
    mixed_BHTK = attend(q_BHTK, k_BJTK, v_BJTK, np.tri(t, dtype=bool))
    return tap(f"blk.{i}.heads", mixed_BHTK.swapaxes(1, 2).reshape(b, t, -1))


def _normed(x_BTM: jax.Array, gain_M: jax.Array, eps: float) -> jax.Array:
    return rms_normalise(x_BTM, eps) * gain_M[None, None]


def _rotated(x_BXTK: jax.Array, cos_TC: np.ndarray, sin_TC: np.ndarray) -> jax.Array:
    """Turn the pairs (x_2i, x_2i+1) by their position's angles."""
    even, odd = x_BXTK[..., ::2], x_BXTK[..., 1::2]
    cos, sin = cos_TC[None, None], sin_TC[None, None]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x_BXTK.shape)
