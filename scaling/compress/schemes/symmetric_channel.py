"""int8 with one scale for each output channel."""

from __future__ import annotations

import numpy as np

from scaling.compress.scheme import SCHEMES, Scheme
from scaling.formats.quantized import QuantizedMatrix

LARGEST = 127
"""−128 is not used, so that a weight and its opposite have opposite integers."""


class SymmetricChannel(Scheme):
    """The weights of integer kernels without zero points, as LiteRT and ONNX Runtime have them.

    ``s = max|w| / 127`` of a row, ``q = round(w/s)`` with halves to even.

    **Source:** Wu et al. 2020, arXiv 2004.09602, section 3.1.2.
    """

    name = "symmetric_channel"
    storage = "symmetric_channel"

    def quantize(self, matrix: np.ndarray) -> QuantizedMatrix:
        scales = np.abs(matrix).max(axis=1, keepdims=True) / np.float32(LARGEST)
        scales = np.where(scales > 0, scales, np.float32(1))  # a row of zeros
        # A denormal scale loses bits: a quotient may then lie beyond the largest integer.
        values = np.clip(np.rint(matrix / scales), -LARGEST, LARGEST)
        return QuantizedMatrix(values=values.astype(np.int8), scales=scales)


SCHEMES.add(SymmetricChannel.name, SymmetricChannel())
