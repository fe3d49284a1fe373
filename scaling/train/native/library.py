"""C++ of this folder, compiled by this machine's compiler at its first use and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax
import jaxlib

from scaling.files import user_cache

FOLDER = Path(__file__).parent

FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
LONGEST_S = 120.0
"""Of a compilation, which takes 1 to 6 seconds."""


def library(name: str) -> Path:
    """``name.cc`` compiled for this processor, compiler and jax.

    Raises:
        OSError: if there is no compiler, it cannot compile this, or the cache cannot be written.
        subprocess.TimeoutExpired: if it takes two minutes.
    """
    named, *options = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    compiler = shutil.which(named)
    if compiler is None:
        raise FileNotFoundError(f"no compiler {named}; install one, or name it in CXX")
    tuned = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    source, shared = FOLDER / f"{name}.cc", sorted(FOLDER.glob("*.h"))
    command = [compiler, *options, *FLAGS, tuned, "-isystem", jax.ffi.include_dir(), str(source)]
    made_of = [*(file.read_text() for file in (source, *shared)), *command, jaxlib.__version__, processor()]
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    folder = user_cache("native")
    # The name has the size: a file that was cut off, by a disk that failed, would kill whoever loads it.
    for path in folder.glob(f"{name}-{key}-*.so"):
        if path.stem.endswith(f"-{path.stat().st_size}"):
            return path
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes may compile at once; each puts a whole file there.
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        made = Path(draft) / f"{name}.so"
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, timeout=LONGEST_S)
        if done.returncode or not made.exists():
            said = done.stderr.decode("utf-8", "replace").strip() or f"{compiler} ended with {done.returncode}"
            raise OSError(said.splitlines()[0])
        path = folder / f"{name}-{key}-{made.stat().st_size}.so"
        made.replace(path)
    return path


def processor() -> str:
    """What the processor is and can do, as code that is tuned for it depends on it: hosts may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.platform()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
