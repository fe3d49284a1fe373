"""What this process may use of its machine: cores and memory, as far as cpusets and control groups let it."""

from __future__ import annotations

import os
from pathlib import Path

_PROC, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may run on: a batch system or a container gives fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory that this process may fill: that of the machine, or what its control group allows of it.

    None where the system does not say.
    """
    try:
        known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError, AttributeError):
        known = []
    return min([*known, *group_limits()], default=None)


def group_limits(proc: Path = _PROC, mounted: Path = _CGROUPS) -> list[int]:
    """Limits of memory of this process's control group and of those around it, in both versions of control groups."""
    try:
        lines = [line.split(":", 2) for line in proc.read_text().splitlines()]
    except OSError:
        return []
    limits = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            limits += _limits(mounted, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(mounted / "memory", path, "memory.limit_in_bytes")
    return limits


def _limits(root: Path, path: str, name: str) -> list[int]:
    """What the files of a group and of its parents say; in a container the root is the group itself."""
    here = root / path.lstrip("/")
    folders = [here, *(folder for folder in here.parents if folder.is_relative_to(root))]
    return [limit for folder in folders if (limit := _limit(folder / name)) is not None]


def _limit(file: Path) -> int | None:
    try:
        # "max" is none.
        return int(file.read_text())
    except (OSError, ValueError):
        return None
