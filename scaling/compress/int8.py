"""Quantization of a trained student, in the layouts that phone formats use.

``affine_channel``: int8 with one scale and zero point for each output channel, ``w ≈ (q − z)·s``, the layout of integer
kernels with zero points. ``q8_0``, ``q4_0``: symmetric blocks of 32 with an f16 scale, bit for bit what llama.cpp
makes, so that the loss measured here is the loss of the exported file. ``f16``, ``f32``: floats, to compare with.
Gains of norms stay float32: they are few, and multiply everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from scaling.errors import ExportError
from scaling.formats.quantized import QuantizedMatrix, check_finite, quantize_blocks, quantize_q8_0

Scheme = Literal["affine_channel", "q8_0", "q4_0", "f16", "f32"]

Matrix = np.ndarray | QuantizedMatrix

LEVELS = 255
"""Steps between the least and the greatest int8, −128 … 127."""


@dataclass(frozen=True, kw_only=True)
class QuantizedStudent:
    """A student whose matrices are as a file stores them.

    Invariants:
        matrices holds every tensor of two axes, vectors every tensor of one, under their GGUF names
        original ≈ matrices[name].dequantize(), within half a scale for each weight
        loss_before and loss_after are finite and measured on the same held-out set, or are both None

    Attributes:
        scheme: Layout of the matrices.
        matrices: Integers with scales and, for ``affine_channel``, zero points; or floats.
        vectors: float32 gains, unchanged.
        loss_before: Loss of the float student, nats/token; None until measured.
        loss_after: Loss of the dequantized student, nats/token; None until measured.
    """

    scheme: Scheme
    matrices: dict[str, Matrix]
    vectors: dict[str, np.ndarray]
    loss_before: float | None = None
    loss_after: float | None = None

    def __post_init__(self) -> None:
        if (self.loss_before is None) != (self.loss_after is None):
            raise ExportError(
                f"loss_before={self.loss_before} and loss_after={self.loss_after}: measure both on one set, or neither"
            )
        for loss in (self.loss_before, self.loss_after):
            if loss is not None and not math.isfinite(loss):
                raise ExportError(f"the student's loss is {loss}; the training diverged, export another run")

    @property
    def tensors(self) -> dict[str, Matrix]:
        """All tensors as stored, ready to be written."""
        return {**self.matrices, **self.vectors}

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors; equal to ``accounting.weights_bytes``."""
        return sum(t.n_bytes if isinstance(t, QuantizedMatrix) else t.nbytes for t in self.tensors.values())

    def dequantize(self) -> dict[str, np.ndarray]:
        """float32 tensors under their GGUF names, as a phone engine sees the weights."""
        return {
            name: t.dequantize() if isinstance(t, QuantizedMatrix) else t.astype(np.float32)
            for name, t in self.tensors.items()
        }

    def with_loss(self, before: float, after: float) -> QuantizedStudent:
        """The same student carrying what quantization cost, nats/token on one held-out set."""
        return replace(self, loss_before=before, loss_after=after)


def scheme_named(name: str) -> Scheme:
    """A scheme by its name.

    Raises:
        ExportError: there is none of that name.
    """
    for scheme in get_args(Scheme):
        if scheme == name:
            return scheme
    raise ExportError(f"unknown scheme {name!r} — allowed: {', '.join(get_args(Scheme))}")


def quantize(tensors: Mapping[str, np.ndarray], scheme: Scheme = "q8_0") -> QuantizedStudent:
    """Quantize all matrices of a student.

    Args:
        tensors: float32 arrays under their GGUF names, matrices as [out, in].
        scheme: Layout of the result.

    Raises:
        ExportError: for an unknown scheme, weights that are not finite, or rows that the scheme cannot cut.
    """
    one = _QUANTIZERS[scheme_named(scheme)]
    check_finite(tensors, what="the student")
    return QuantizedStudent(
        scheme=scheme,
        matrices={name: one(tensor) for name, tensor in tensors.items() if tensor.ndim == 2},
        vectors={name: np.asarray(tensor, np.float32) for name, tensor in tensors.items() if tensor.ndim == 1},
    )


def quantize_affine(matrix: np.ndarray) -> QuantizedMatrix:
    """Quantize each row to int8 with its own scale and zero point.

    ``s = (max(w, 0) − min(w, 0)) / 255``, ``z = round(−128 − min(w, 0)/s)``, ``q = clip(round(w/s) + z, −128, 127)``.
    The range includes 0, so a zero weight stays exactly zero; every weight returns within ``s/2``.

    Args:
        matrix: float32[out, in], finite.

    Source: Jacob et al. 2018, arXiv 1712.05877, equations 1 and 13.
    """
    values, scales, zero_points = _affine_rows(jnp.asarray(matrix, jnp.float32))
    return QuantizedMatrix(values=np.asarray(values), scales=np.asarray(scales), zero_points=np.asarray(zero_points))


def to_f16(matrix: np.ndarray) -> np.ndarray:
    """The nearest f16 numbers.

    Raises:
        ExportError: if a value is too large for one.
    """
    largest, most = float(np.abs(matrix).max(initial=0)), float(np.finfo(np.float16).max)
    if largest > most:
        raise ExportError(f"a weight of {largest:g} is too large for f16 (at most {most:g}); export as f32 or q8_0")
    return matrix.astype(np.float16)


@jax.jit
def _affine_rows(w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    low = jnp.minimum(w.min(axis=1, keepdims=True), 0)
    high = jnp.maximum(w.max(axis=1, keepdims=True), 0)
    scale = high / LEVELS - low / LEVELS  # divided first: the range of huge weights would overflow
    scale = jnp.where(scale > 0, scale, 1)  # a row of zeros
    zero = jnp.round(-128 - low / scale)
    q = jnp.clip(jnp.round(w / scale + zero), -128, 127)
    return q.astype(jnp.int8), scale, zero.astype(jnp.int8)


_QUANTIZERS: dict[Scheme, Callable[[np.ndarray], Matrix]] = {
    "affine_channel": quantize_affine,
    "q8_0": quantize_q8_0,
    "q4_0": partial(quantize_blocks, bits=4),
    "f16": to_f16,
    "f32": partial(np.asarray, dtype=np.float32),
}
