"""The C++ of a training step: compiled by this machine's compiler at its first use, kept in the user's cache.

It is one call of attention each way (`attention.cc`). Where it cannot be had (no compiler, an accelerator, several
devices) training is what XLA makes of it, the same mathematics; which of the two it was is in every record.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import jax
import jaxlib

from scaling.errors import TrainError
from scaling.files import user_cache

log = logging.getLogger("scaling")

SWITCH = "SCALING_ATTENTION"
"""Environment variable: ``xla`` for attention without C++, ``native`` for an error where it cannot be had."""

SOURCE = Path(__file__).with_name("attention.cc")

HEADS_OF = 16
"""What the width of a head must be a multiple of."""

TARGETS = {name: f"scaling_{name}" for name in ("attention", "attention_gradient")}
"""Functions of the source, and what they are called in programs."""

FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
LONGEST_S = 120.0
"""Of a compilation, which takes 3 to 6 seconds."""


def attention_kind() -> str:
    """``native`` or ``xla``: how this process computes the attention of a step in float32.

    Raises:
        TrainError: if the environment asks for something else, or for C++ that cannot be had.
    """
    return _attention_kind(os.environ.get(SWITCH, ""))


@lru_cache(maxsize=4)
def _attention_kind(asked: str) -> str:
    if asked not in ("", "native", "xla"):
        raise TrainError(f"{SWITCH} is {asked!r} — native or xla is possible; set it to one of these, or unset it")
    if asked == "xla":
        return "xla"
    why = _why_not()
    if why and asked:
        raise TrainError(f"{SWITCH} is native, but {why}; unset it to train without")
    if why:
        log.info("attention without C++: %s", why)
    return "xla" if why else "native"


def _why_not() -> str:
    """Why the C++ is not used; empty once it is known to jax."""
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return "it is for one processor"
    try:
        _register(library())
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or "").strip() or str(error)
        return f"it could not be compiled: {said.splitlines()[0]}"
    return ""


def _register(path: Path) -> None:
    loaded = ctypes.CDLL(str(path))
    for name, target in TARGETS.items():
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")


def library() -> Path:
    """The compiled source for this processor, compiler and jax.

    Raises:
        OSError: if there is no compiler, or the cache cannot be written.
        subprocess.SubprocessError: if it cannot be compiled.
    """
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        raise FileNotFoundError(f"no compiler {os.environ.get('CXX') or 'c++'}; install one, or name it in CXX")
    tuned = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    command = [compiler, *FLAGS, tuned, "-isystem", jax.ffi.include_dir(), str(SOURCE)]
    made_of = [SOURCE.read_text(), *command, jaxlib.__version__, processor()]
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    path = user_cache("native") / f"attention-{key}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may compile at once; each puts a whole file there.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            subprocess.run([*command, "-o", str(made)], check=True, capture_output=True, text=True, timeout=LONGEST_S)
            made.replace(path)
    return path


def processor() -> str:
    """What the processor is and can do, as code that is tuned for it depends on it: hosts may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.platform()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
