"""What a machine has, for a person who wonders why something does not work."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.machine import cores, memory_bytes
from scaling.numbers import size
from scaling.packages import EXTRAS, remedy
from scaling.report.tables import key_values, show

if TYPE_CHECKING:
    from scaling.train.native.parts import Part

NEEDED = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "pydantic")
OPTIONAL = ("text", "export", "onnx")
"""Extras that a machine does well to have."""

LEAST_DISK = 2**30
"""Checkpoints, shards and a bundle of the example sweeps take less than this."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """State of the machine.

    Attributes:
        healthy: Nothing that the project needs is missing.
        versions: Of Python and the packages that are always needed; empty where one is missing.
        extras: For each extra the versions of its packages.
        devices: As jax names them.
        native: For each part of a training step that there is C++ for, why it is not used; empty where it is.
        cores: That this process may use.
        memory_bytes: Of the machine, None where it does not say.
        free_disk_bytes: Where results would go.
        advice: One sentence for each thing that is missing.
    """

    healthy: bool
    versions: dict[str, str]
    extras: dict[str, dict[str, str]]
    devices: tuple[str, ...]
    native: dict[str, str]
    cores: int
    memory_bytes: int | None
    free_disk_bytes: int
    advice: tuple[str, ...]


def examine(results: Path) -> Health:
    """Look at this machine."""
    versions = {"python": platform.python_version()} | {name: _version(name) for name in NEEDED}
    extras = {extra: {name: _version(name) for name in EXTRAS[extra]} for extra in OPTIONAL}
    free = shutil.disk_usage(_existing(results)).free
    # Only what training itself needs makes a machine unhealthy; an incomplete extra is advice.
    missing = [name for name, version in versions.items() if not version]
    advice = [f"{name} is missing: pip install scaling" for name in missing]
    advice += [
        f"extra [{extra}] is not complete ({', '.join(n for n, v in found.items() if not v)}): "
        f"{remedy(EXTRAS[extra][0])}"
        for extra, found in extras.items()
        if not all(found.values())
    ]
    if free < LEAST_DISK:
        advice.append(f"only {size(free)} are free under {results}: the example sweeps need up to {size(LEAST_DISK)}")
    return Health(
        healthy=not missing and free >= LEAST_DISK,
        versions=versions,
        extras=extras,
        devices=_devices() if "jax" not in missing else (),
        native=_native() if "jax" not in missing else {},
        cores=cores(),
        memory_bytes=memory_bytes(),
        free_disk_bytes=free,
        advice=tuple(advice),
    )


def show_health(health: Health) -> None:
    """Print it."""
    rows = {name: version or "missing" for name, version in health.versions.items()}
    for extra, found in health.extras.items():
        rows |= {f"[{extra}] {name}": version or "not installed" for name, version in found.items()}
    rows["devices"] = ", ".join(health.devices)
    rows |= {f"{part} in C++": f"no: {why}" if why else "yes" for part, why in health.native.items()}
    rows["cores"] = str(health.cores)
    rows["memory"] = size(health.memory_bytes) if health.memory_bytes else "unknown"
    rows["free disk"] = size(health.free_disk_bytes)
    show(key_values("this machine", rows))
    for line in health.advice:
        print(line)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _devices() -> tuple[str, ...]:
    import jax

    return tuple(f"{device.platform}:{device.device_kind}" for device in jax.devices())


def _native() -> dict[str, str]:
    from scaling.train.native.parts import PARTS

    return {part.name: part.why_not() or _switched_off(part) for part in PARTS}


def _switched_off(part: Part) -> str:
    return "" if part.kind() == "native" else f"{part.switch} is xla"


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
