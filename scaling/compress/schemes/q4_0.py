"""int4 in symmetric blocks of 32, bit for bit what llama.cpp makes."""

from __future__ import annotations

import numpy as np

from scaling.compress.scheme import SCHEMES, Scheme
from scaling.formats.quantized import QuantizedMatrix, quantize_blocks


class Q4_0(Scheme):
    """GGUF's Q4_0, of every matrix, the token table too."""

    name = "q4_0"
    storage = "Q4_0"

    def quantize(self, matrix: np.ndarray) -> QuantizedMatrix:
        return quantize_blocks(matrix, bits=4)


SCHEMES.add(Q4_0.name, Q4_0())
