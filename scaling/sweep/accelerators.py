"""Which accelerators this process may use, told without loading jax."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def accelerators() -> list[str]:
    """Numbers of the NVIDIA devices that jax may use here; none where its plugin is not installed."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or importlib.util.find_spec("jax_plugins") is None:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [number for number in visible.split(",") if number]
    return sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
