"""The machine under jax: the compilation cache, and what a record says about versions and device."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from scaling.files import user_cache
from scaling.machine import cores
from scaling.train.arithmetic import deviations, fix_arithmetic
from scaling.train.native.parts import ATTENTION, PRODUCTS

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint")


def prepare_process() -> None:
    """Settings of a process that trains: arithmetic that is everybody's, compiled programs kept on disk, freed memory
    kept by the process.

    To be called before jax does anything, because a thread goes on allocating where it began; again, it does nothing.
    """
    fix_arithmetic()
    enable_compile_cache()
    compilations()
    _keep_freed_memory()


class Compilations:
    """What this process compiled so far, or read from the cache of compiled programs.

    Attributes:
        seconds: Spent on it, tracing included.
        programs: Their names, ``jit(step)`` and the like, in order.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.programs: list[str] = []
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)

    def _on_duration(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            self.seconds += duration_secs
        if event == "/jax/core/compile/backend_compile_duration":
            self.programs.append(str(kwargs.get("fun_name", "")))


@lru_cache(maxsize=1)
def compilations() -> Compilations:
    """The process's count, begun at the first call."""
    return Compilations()


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    # XLA allocates the temporaries of a step anew each time, as one piece. glibc hands them back to the kernel, and
    # maps pieces over 32 MiB afresh; the page faults then take a third of a step (width 64, 4 layers, batch 16 × 128:
    # 16 831 faults and 45 of 119 ms, against none and 59 – 75 ms).
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in _MALLOPT.values():
        libc.mallopt(option, value)


_MALLOPT = {"arena_max": (-8, 1), "mmap_max": (-4, 0), "trim_threshold": (-1, -1)}
"""glibc's M_ARENA_MAX; M_MMAP_MAX, 0 for no piece outside of the heap; M_TRIM_THRESHOLD, −1 for never."""


def enable_compile_cache(folder: str | os.PathLike[str] | None = None) -> None:
    """Keep compiled programs on disk, so that a shape is compiled once on a machine.

    Args:
        folder: Where; by default what ``JAX_COMPILATION_CACHE_DIR`` says, else ``scaling/jax`` in the user's cache.
    """
    # jax declares its settings while it runs, where no type checker sees them.
    if folder is None and jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    jax.config.update("jax_compilation_cache_dir", str(folder or user_cache("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def accelerator_bytes() -> int | None:
    """Memory that this process may fill on its first accelerator; None on a processor, which has no such bound."""
    device = jax.devices()[0]
    return None if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit")


@lru_cache
def environment() -> dict[str, str]:
    """Versions, device and git commit, as a record keeps them."""
    device, count = jax.devices()[0], jax.device_count()
    name = platform.machine() if device.platform == "cpu" else device.device_kind
    several = f"{count} x " if count > 1 else ""
    found = {f"{package.replace('-', '_')}_version": version(package) for package in PACKAGES}
    return found | {
        "python_version": platform.python_version(),
        "numpy_version": np.__version__,
        "device": f"{several}{device.platform} {name}",
        "threads": os.environ.get("NPROC", str(cores())),
        "host": platform.platform(),
        "xla_flags": deviations(),
        "attention": ATTENTION.kind(),
        "products": PRODUCTS.kind(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str:
    """Commit of the program's own checkout; empty where it was installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
