"""Training for few bits: the forward pass sees rounded weights, the gradient passes as if they were not.

In GGUF a block of 32 lies along a row of [out, in]; the student's own matrices are [in, out], but for the tables.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.dimensions import GGUF_BLOCK
from scaling.formats.quantized import quantize_blocks
from scaling.train.student.model import Student, from_tensors, to_tensors

QAT_BITS = {"q4_0": 4}
"""Of a weight, by what ``OptimSpec.qat`` is called."""

ROWS_OF_INPUTS = ("token_embd", "output")
"""Tables [V, M]: their rows are of inputs already."""


def straight_through(params: dict[str, Any], qat: str) -> dict[str, Any]:
    """Parameters with the values of rounded ones and the gradient of their own: ``w + stop_gradient(Q(w) − w)``.

    Source: Bengio et al. 2013, arXiv 1308.3432, section 4.
    """

    def rounded(path: Any, leaf: jax.Array) -> jax.Array:
        if leaf.ndim != 2:
            return leaf
        by_rows = any(getattr(part, "key", None) in ROWS_OF_INPUTS for part in path)
        stored = _blocks(leaf, QAT_BITS[qat]) if by_rows else _blocks(leaf.T, QAT_BITS[qat]).T
        return leaf + jax.lax.stop_gradient(stored - leaf)

    return jax.tree_util.tree_map_with_path(rounded, params)


def stored_as(student: Student, qat: str) -> Student:
    """The student whose matrices are exactly those of its quantized file: what was trained for."""
    tensors = to_tensors(student)
    rounded = {
        name: quantize_blocks(tensor, QAT_BITS[qat]).dequantize() if tensor.ndim == 2 else tensor
        for name, tensor in tensors.items()
    }
    return from_tensors(student.model, rounded)


def _blocks(matrix: jax.Array, bits: int) -> jax.Array:
    """:func:`~scaling.formats.quantized.quantize_blocks` and back."""
    half = 2 ** (bits - 1)
    blocks = matrix.reshape(-1, GGUF_BLOCK)
    first = jnp.abs(blocks).argmax(axis=1)[:, None]
    scale = jnp.take_along_axis(blocks, first, axis=1) / -half
    counted = jnp.trunc(blocks * jnp.where(scale == 0, 0.0, 1 / scale) + (half + 0.5))
    values = jnp.minimum(counted, 2 * half - 1) - half
    return (values * scale.astype(jnp.float16).astype(jnp.float32)).reshape(matrix.shape)
