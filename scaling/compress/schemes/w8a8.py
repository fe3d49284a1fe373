"""int8 weights and int8 activations, as integer kernels multiply them."""

from __future__ import annotations

from scaling.compress.activations import DYNAMIC, Ranges, static
from scaling.compress.scheme import SCHEMES
from scaling.compress.schemes.q8_0 import Q8_0
from scaling.compress.schemes.symmetric_channel import SymmetricChannel
from scaling.errors import ExportError
from scaling.train.student.generator import Forward


class W8A8Dynamic(Q8_0):
    """Q8_0 weights, and activations in blocks of 32 scaled anew for each token: how llama.cpp runs a Q8_0 file."""

    name = "w8a8_dynamic"

    def arithmetic(self, ranges: Ranges | None) -> Forward:
        return DYNAMIC


class W8A8Static(SymmetricChannel):
    """int8 a channel, and activations in ranges that were calibrated: what accelerators of phones want.

    It costs far more than the others; never a default.
    """

    name = "w8a8_static"
    is_calibrated = True

    def arithmetic(self, ranges: Ranges | None) -> Forward:
        if ranges is None:
            raise ExportError(f"{self.name} needs ranges of activations: calibrate it on training tokens")
        return static(ranges)


for _scheme in (W8A8Dynamic(), W8A8Static()):
    SCHEMES.add(_scheme.name, _scheme)
