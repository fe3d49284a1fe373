"""Floats as they are and in half the bytes: what fewer bits are compared with."""

from __future__ import annotations

import numpy as np

from scaling.compress.scheme import SCHEMES, Scheme
from scaling.errors import ExportError


class F32(Scheme):
    """The weights as they were trained."""

    name = "f32"
    storage = "F32"

    def quantize(self, matrix: np.ndarray) -> np.ndarray:
        return np.asarray(matrix, np.float32)


class F16(Scheme):
    """The nearest f16 numbers."""

    name = "f16"
    storage = "F16"

    def quantize(self, matrix: np.ndarray) -> np.ndarray:
        largest, most = float(np.abs(matrix).max(initial=0)), float(np.finfo(np.float16).max)
        if largest > most:
            raise ExportError(f"a weight of {largest:g} is too large for f16 (at most {most:g}); export as f32 or q8_0")
        return matrix.astype(np.float16)


for _scheme in (F32(), F16()):
    SCHEMES.add(_scheme.name, _scheme)
