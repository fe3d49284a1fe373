"""The last line that an attack prints, which ``python -m tests.attacks`` reads."""

from __future__ import annotations

import re
import resource
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<name>[^:]+): (?P<tried>\d+) tried.* (?P<violations>\d+) violations; "
    r"peak memory (?P<peak_mib>\d+) MiB, slowest (?P<slowest_s>[\d.]+) s"
)


@dataclass(frozen=True)
class Summary:
    """What an attack tried and found."""

    name: str
    tried: int
    violations: int
    peak_mib: int
    slowest_s: float


def print_summary(name: str, *, tried: int, violations: int, slowest_s: float) -> None:
    """Print it, with the largest memory that this process or one of its children had."""
    used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024
    print(f"{name}: {tried} tried, {violations} violations; peak memory {used} MiB, slowest {slowest_s:.3f} s")


def read_summary(line: str) -> Summary | None:
    """What the line says; None for another line."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        return None
    return Summary(
        found["name"], *(int(found[key]) for key in ("tried", "violations", "peak_mib")), float(found["slowest_s"])
    )
