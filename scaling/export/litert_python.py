"""The interpreter that has LiteRT: its packages pin others so that they want an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from scaling.errors import EngineError

LITERT_PYTHON = "SCALING_LITERT_PYTHON"
"""Environment variable: the interpreter of that environment; without it this one."""

PACKAGES = "litert-converter==0.5.0 ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 tokenizers"
"""As in the extra [litert]; they need nothing of this project."""

INSTALL = (
    f"make an environment of its own, as: python -m venv litert && litert/bin/pip install {PACKAGES} — and say "
    f"{LITERT_PYTHON}=litert/bin/python"
)

PROBE_S = 60.0


def litert_python() -> str:
    """Path of the interpreter."""
    return os.environ.get(LITERT_PYTHON) or sys.executable


def litert_version(package: str) -> str:
    """Version of a package there.

    Raises:
        EngineError: if the interpreter or the package is not there.
    """
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    try:
        done = subprocess.run([litert_python(), "-c", ask], capture_output=True, text=True, timeout=PROBE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{litert_python()}: cannot be started ({error}); {INSTALL}") from error
    if done.returncode:
        raise EngineError(f"LiteRT is not installed here (package {package}); {INSTALL}")
    return done.stdout.strip()
