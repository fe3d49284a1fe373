"""A matrix stored in few bits: integer values, the scales and zero points that give them back their size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.dimensions import GGUF_BLOCK
from scaling.errors import ExportError

F16_MAX = 65504.0
"""Largest scale of a block."""


@dataclass(frozen=True, kw_only=True)
class QuantizedMatrix:
    """A matrix of integers, ``original ≈ (values − zero_points) · scales``, one scale for each group of a row.

    Invariants:
        values.shape == (out, in)
        −2^(bits − 1) ≤ values < 2^(bits − 1)
        scales.shape == (out, groups), and groups divides in (group g of a row: in/groups values from g·in/groups)
        zero_points is None (symmetric: zero is 0), or zero_points.shape == scales.shape

    Attributes:
        values: int8[out, in].
        scales: float16 or float32 [out, groups].
        zero_points: int8[out, groups], or None.
        bits: That a value takes in a file.
    """

    values: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray | None = None
    bits: int = 8

    def __post_init__(self) -> None:
        out, width = self.values.shape
        rows, groups = self.scales.shape
        if self.values.dtype != np.int8 or rows != out or not groups or width % groups:
            raise ExportError(
                f"a quantized matrix needs int8 values [out, in] and scales [out, groups] with groups dividing in — "
                f"got {self.values.dtype}{self.values.shape} and {self.scales.dtype}{self.scales.shape}"
            )
        if self.zero_points is not None and self.zero_points.shape != self.scales.shape:
            raise ExportError(f"zero_points {self.zero_points.shape} must have the shape of scales {self.scales.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape

    @property
    def n_bytes(self) -> int:
        """Bytes of values, ``out·in·bits/8``, scales and zero points."""
        beside = sum(part.nbytes for part in (self.scales, self.zero_points) if part is not None)
        return self.values.size * self.bits // 8 + beside

    def dequantize(self) -> np.ndarray:
        """float32[out, in]: ``(values − zero_points) · scales``."""
        out, groups = self.scales.shape
        grouped = self.values.reshape(out, groups, -1).astype(np.float32)
        if self.zero_points is not None:
            grouped -= self.zero_points[..., None].astype(np.float32)
        return (grouped * self.scales[..., None].astype(np.float32)).reshape(self.shape)


Tensor = np.ndarray | QuantizedMatrix
"""As a file stores it: floats, or integers with scales."""


def check_finite(tensors: Mapping[str, np.ndarray], *, what: str) -> None:
    """Refuse weights that are not numbers: an engine would run them all the same, and write tokens that mean nothing.

    Raises:
        ExportError: naming the first tensor that holds one.
    """
    for name, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise ExportError(
                f"{what}: {name} holds weights that are not finite; the training diverged, export another run"
            )


def quantize_q8_0(matrix: np.ndarray) -> QuantizedMatrix:
    """Quantize a matrix exactly as llama.cpp's reference does for Q8_0.

    For each block of 32 values along a row: ``scale = max|w| / 127``, ``value = round(w / scale)`` with halves away
    from zero; the scale is rounded to f16 only after the values were computed.

    Args:
        matrix: float32[out, in], in a multiple of 32.

    Raises:
        ExportError: if rows cannot be cut into blocks, or a value is not finite or too large for an f16 scale.
    """
    blocks = _blocks(matrix, largest_integer=127)
    scales = np.abs(blocks).max(axis=-1) / np.float32(127)
    values = round_half_away(blocks * _inverse(scales)[..., None])
    return QuantizedMatrix(values=values.astype(np.int8).reshape(matrix.shape), scales=scales.astype(np.float16))


def quantize_blocks(matrix: np.ndarray, bits: int) -> QuantizedMatrix:
    """Quantize a matrix to 2 – 7 bits by the rule that llama.cpp's reference has for Q4_0 and Q5_0.

    For each block of 32 values along a row, with m the value of largest magnitude: ``scale = m / −2^(bits − 1)``, so
    that m itself has the one integer that has no opposite, and ``value = ⌊w/scale + ½⌋``, at most ``2^(bits − 1) − 1``.
    The scale, which may be negative, is rounded to f16 only after the values were computed.

    Args:
        matrix: float32[out, in], in a multiple of 32.
        bits: Of a value; 4 is Q4_0 and 5 is Q5_0, bit for bit.

    Raises:
        ExportError: as :func:`quantize_q8_0` does.
    """
    half = 2 ** (bits - 1)
    blocks = _blocks(matrix, largest_integer=half)
    first = np.abs(blocks).argmax(axis=-1)[..., None]
    scales = np.take_along_axis(blocks, first, axis=-1)[..., 0] / np.float32(-half)
    # Adding half of the range first makes truncation a floor: the reference does it so, and ties depend on it.
    counted = np.trunc(blocks * _inverse(scales)[..., None] + np.float32(half + 0.5))
    values = np.minimum(counted, 2 * half - 1) - half
    stored = scales.astype(np.float16)
    return QuantizedMatrix(values=values.astype(np.int8).reshape(matrix.shape), scales=stored, bits=bits)


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Round to whole numbers, halves away from zero, as C's ``roundf`` does."""
    magnitude = np.abs(values)
    whole = np.floor(magnitude)
    return np.sign(values) * (whole + np.floor(2 * (magnitude - whole)))


def _blocks(matrix: np.ndarray, *, largest_integer: int) -> np.ndarray:
    """float32[out, in/32, 32], all small enough for an f16 scale."""
    out, width = matrix.shape
    if width % GGUF_BLOCK:
        raise ExportError(f"rows of {width} values cannot be cut into blocks of {GGUF_BLOCK}; pad the width")
    blocks = np.asarray(matrix, np.float32).reshape(out, -1, GGUF_BLOCK)
    largest, most = float(np.abs(blocks).max()), largest_integer * F16_MAX
    if not largest <= most:
        raise ExportError(
            f"a weight is not finite or too large for an f16 scale (above {most:.2g}) — got {largest:.3g}; "
            "the training diverged, export another run"
        )
    return blocks


def _inverse(scales: np.ndarray) -> np.ndarray:
    """1/scale, and 0 for zero and denormal scales, which have none; such a block is zero in f16 anyway."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1 / scales
    return np.where(np.isfinite(inverse), inverse, np.float32(0))
