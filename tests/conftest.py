"""What every test needs: capped threads, a shared compile cache, strict jax, and the public run tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Before jax is imported anywhere: CPU only, as many threads as a small machine has, rank promotion is an error.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "2")


@pytest.fixture(scope="session")
def published() -> Path:
    """Folder of public run tables; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SCALING_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"public run tables are not at {folder}; set SCALING_SHARED to the folder that holds data/")
    return folder
