"""The parts of a training step that there is C++ for.

Where it cannot be had (no compiler, an accelerator, several devices, a processor without what it needs) a part is what
XLA makes of it, the same mathematics; which of the two it was is in every record.
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from scaling.errors import TrainError
from scaling.train.native.library import library, processor

log = logging.getLogger("scaling")


@dataclass(frozen=True)
class Part:
    """A source file of this folder.

    Attributes:
        name: Of the file, without ``.cc``.
        functions: Those of it that a program calls.
        needs: What the processor must be able to do, as Linux names it.
        permission: A function of it that asks the system's leave, and says 1 where that is given; none if empty.
    """

    name: str
    functions: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    permission: str = ""

    @property
    def switch(self) -> str:
        """Environment variable: ``xla`` for the part without C++, ``native`` for an error where it cannot be had."""
        return f"SCALING_{self.name.upper()}"

    def kind(self) -> str:
        """``native`` or ``xla``: how this process computes the part in float32.

        Raises:
            TrainError: if the environment asks for something else, or for C++ that cannot be had.
        """
        return _kind(self, os.environ.get(self.switch, ""))

    def why_not(self) -> str:
        """Why this process does not use the C++; empty where it does, which is known to jax from then on."""
        if jax.default_backend() != "cpu" or jax.device_count() > 1:
            return "it is for one processor"
        if missing := self.needs - set(processor().split()):
            return f"the processor has no {', '.join(sorted(missing))}"
        try:
            loaded = ctypes.CDLL(str(library(self.name)))
            if self.permission and not getattr(loaded, self.permission)():
                return "the system does not permit it"
            for function in self.functions:
                _make_known(function, getattr(loaded, function))
        except (OSError, AttributeError, subprocess.TimeoutExpired) as error:
            return f"it could not be compiled: {error}"
        return ""

    def call(self, function: str, results, *given: jax.Array, **attributes: int):
        """A function of the part in a program; mapped over an axis, it is called once, with that axis in front."""
        call = jax.ffi.ffi_call(f"scaling_{function}", results, vmap_method="broadcast_all")
        return call(*given, **{name: np.int64(value) for name, value in attributes.items()})


ATTENTION = Part("attention", ("attention", "attention_gradient"))
PRODUCTS = Part(
    "products",
    ("product", "input_gradient", "weight_gradient"),
    needs=frozenset({"avx512f", "amx_tile", "amx_bf16"}),
    permission="permitted",
)
PARTS = (ATTENTION, PRODUCTS)


_known: set[str] = set()


def _make_known(function: str, address: Any) -> None:
    """Tell jax where a function lies, once: it stays there."""
    if function not in _known:
        jax.ffi.register_ffi_target(f"scaling_{function}", jax.ffi.pycapsule(address), platform="cpu")
        _known.add(function)


@lru_cache(maxsize=8)
def _kind(part: Part, asked: str) -> str:
    if asked not in ("", "native", "xla"):
        raise TrainError(f"{part.switch} is {asked!r} — native or xla is possible; set it to one of these, or unset it")
    if asked == "xla":
        return "xla"
    why = part.why_not()
    if why and asked:
        raise TrainError(f"{part.switch} is native, but {why}; unset it to train without")
    if why:
        log.info("%s without C++: %s", part.name, why)
    return "xla" if why else "native"
