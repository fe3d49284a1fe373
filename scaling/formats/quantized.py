"""A matrix stored in int8: integer values, the scales and zero points that give them back their size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.errors import ExportError
from scaling.spec import GGUF_BLOCK

Q8_0_MAX = 127 * 65504.0
"""Largest weight whose scale is still an f16 number."""


@dataclass(frozen=True, kw_only=True)
class QuantizedMatrix:
    """An int8 matrix, ``original ≈ (values − zero_points) · scales``, one scale for each group of a row.

    Invariants:
        values.shape == (out, in)
        scales.shape == (out, groups), and groups divides in (group g of a row: in/groups values from g·in/groups)
        zero_points is None (symmetric: zero is 0), or zero_points.shape == scales.shape

    Attributes:
        values: int8[out, in].
        scales: float16 or float32 [out, groups].
        zero_points: int8[out, groups], or None.
    """

    values: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray | None = None

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
        """Bytes of values, scales and zero points."""
        return sum(part.nbytes for part in (self.values, self.scales, self.zero_points) if part is not None)

    def dequantize(self) -> np.ndarray:
        """float32[out, in]: ``(values − zero_points) · scales``."""
        out, groups = self.scales.shape
        grouped = self.values.reshape(out, groups, -1).astype(np.float32)
        if self.zero_points is not None:
            grouped -= self.zero_points[..., None].astype(np.float32)
        return (grouped * self.scales[..., None].astype(np.float32)).reshape(self.shape)


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
    out, width = matrix.shape
    if width % GGUF_BLOCK:
        raise ExportError(f"rows of {width} values cannot be cut into blocks of {GGUF_BLOCK}; pad the width")
    blocks = np.asarray(matrix, np.float32).reshape(out, -1, GGUF_BLOCK)
    largest = np.abs(blocks).max(axis=-1)
    if not np.all(largest <= Q8_0_MAX):
        raise ExportError(
            "a weight is not finite or too large for Q8_0 (above 8.3e6) — got "
            f"{float(largest.max())}; the training diverged, export another run"
        )
    scales = largest / np.float32(127)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1 / scales
    # Zero and denormal scales have no inverse; such a block is zero in f16 anyway.
    scaled = blocks * np.where(np.isfinite(inverse), inverse, np.float32(0))[..., None]
    magnitude = np.abs(scaled)
    whole = np.floor(magnitude)
    rounded = np.sign(scaled) * (whole + np.floor(2 * (magnitude - whole)))
    return QuantizedMatrix(values=rounded.astype(np.int8).reshape(out, width), scales=scales.astype(np.float16))
