"""int8 with one scale and one zero point for each output channel."""

from __future__ import annotations

import numpy as np

from scaling.compress.scheme import SCHEMES, Scheme
from scaling.formats.quantized import QuantizedMatrix

STEPS = np.float32(255)
"""Between the least and the greatest int8, −128 … 127."""


class AffineChannel(Scheme):
    """The layout of integer kernels with zero points.

    ``s = (max(w, 0) − min(w, 0)) / 255``, ``z = round(−128 − min(w, 0)/s)``, ``q = clip(round(w/s) + z, −128, 127)``.
    The range includes 0, so a zero weight stays exactly zero; every weight returns within ``s/2``.

    **Source:** Jacob et al. 2018, arXiv 1712.05877, equations 1 and 13.
    """

    name = "affine_channel"
    storage = "affine_channel"

    def quantize(self, matrix: np.ndarray) -> QuantizedMatrix:
        low = np.minimum(matrix.min(axis=1, keepdims=True), np.float32(0))
        high = np.maximum(matrix.max(axis=1, keepdims=True), np.float32(0))
        scales = high / STEPS - low / STEPS  # divided first: the range of huge weights would overflow
        scales = np.where(scales > 0, scales, np.float32(1))  # a row of zeros
        zero_points = np.rint(-128 - low / scales)
        values = np.clip(np.rint(matrix / scales + zero_points), -128, 127)
        return QuantizedMatrix(values=values.astype(np.int8), scales=scales, zero_points=zero_points.astype(np.int8))


SCHEMES.add(AffineChannel.name, AffineChannel())
