"""What a training costs besides FLOPs: time, compilation, energy; and the share that each record is charged with."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from scaling.accounting import EnergySettings
from scaling.train.energy import EnergyMeter
from scaling.train.runtime import compilations


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was spent between two looks at a meter."""

    wall_s: float
    compile_s: float
    joules: float
    source: str


class Meter:
    """Reads the machine's clocks and counters; each reading begins where the one before ended."""

    def __init__(self) -> None:
        self.settings = EnergySettings.from_environment(os.environ)
        self._energy = EnergyMeter(self.settings)
        self._wall, self._compiled = time.monotonic(), compilations().seconds

    def read(self) -> Reading:
        """What was spent since the last reading."""
        wall, compiled = time.monotonic(), compilations().seconds
        reading = Reading(
            wall_s=wall - self._wall,
            compile_s=compiled - self._compiled,
            joules=self._energy.joules(),
            source=self._energy.source,
        )
        self._wall, self._compiled = wall, compiled
        return reading


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Clock:
    """What was spent since the last record: what the next one is charged with.

    Attributes:
        started_at: UTC, ISO 8601.
        wall_s: Seconds in all.
        compile_s: Seconds of compiling.
        train_s: Seconds of training steps, compiling left out.
        train_steps: Steps taken in them.
        joules: Energy of the devices.
        sources: Where the joules come from; more than one after a resumption elsewhere.
    """

    started_at: str = field(default_factory=now)
    wall_s: float = 0.0
    compile_s: float = 0.0
    train_s: float = 0.0
    train_steps: int = 0
    joules: float = 0.0
    sources: list[str] = field(default_factory=list)

    def charge(self, reading: Reading, *, share: float = 1.0) -> None:
        """Add a reading, or one trunk's share of it."""
        self.wall_s += share * reading.wall_s
        self.compile_s += share * reading.compile_s
        self.joules += share * reading.joules
        self.sources = sorted({*self.sources, reading.source})
