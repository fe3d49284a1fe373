"""What results depend on besides a run's specification, and is therefore the same for everybody."""

from __future__ import annotations

import os

import jax

FIXED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
}
"""Settings of jax that change numbers, whatever the environment says of them."""


def fix_arithmetic() -> None:
    """Set what jax might have been told otherwise, by its environment variables or by the program around this one."""
    for name, value in FIXED.items():
        if getattr(jax.config, name, value) != value:
            jax.config.update(name, value)


def deviations() -> str:
    """Settings that may change numbers and are not ours to fix, for a record: options of the compiler."""
    return os.environ.get("XLA_FLAGS", "").strip()
