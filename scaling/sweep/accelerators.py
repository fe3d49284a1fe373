"""Which accelerators this process may use, told without loading jax."""

from __future__ import annotations

import importlib.util
import os
from itertools import takewhile
from pathlib import Path


def accelerators(devices: Path = Path("/dev")) -> list[str]:
    """Names of the NVIDIA devices that jax may use here; none where no plugin of it is installed."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or importlib.util.find_spec("jax_plugins") is None:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # The list ends at the first that is no device, for CUDA as well: -1 is how devices are hidden.
        return list(takewhile(lambda name: name and not name.startswith("-"), visible.split(",")))
    # A container may be given /dev/nvidia2 and 5; CUDA numbers what it is given from 0.
    return [str(number) for number in range(len(list(devices.glob("nvidia[0-9]*"))))]
