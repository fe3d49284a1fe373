"""int8 in symmetric blocks of 32, bit for bit what llama.cpp makes."""

from __future__ import annotations

import numpy as np

from scaling.compress.scheme import SCHEMES, Scheme
from scaling.formats.quantized import QuantizedMatrix, quantize_q8_0


class Q8_0(Scheme):
    """GGUF's Q8_0: the loss measured with it is the loss of the exported file."""

    name = "q8_0"
    storage = "Q8_0"

    def quantize(self, matrix: np.ndarray) -> QuantizedMatrix:
        return quantize_q8_0(matrix)


SCHEMES.add(Q8_0.name, Q8_0())
