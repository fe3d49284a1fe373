"""What a sweep says while it works: one type of event, for a progress bar, a log, or a test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventKind = Literal[
    "claimed",
    "resumed",
    "taken over",
    "preparing",
    "prepared",
    "step",
    "done",
    "diverged",
    "failed",
    "retry",
    "released",
    "blocked",
    "finished",
]

Listener = Callable[["Event"], None]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a trunk or to one of its runs.

    Attributes:
        kind: ``step`` and ``preparing`` report work in progress; ``done``, ``diverged`` and ``failed`` end a run;
            ``finished`` and ``blocked`` end a trunk.
        worker: Who reports.
        trunk_id: Which trunk.
        run_id: Which run, where one run is meant.
        step: Optimizer steps done in this trunk and its branches, as far as they are known.
        steps: Steps that it will take.
        loss: Training loss at ``step``, or held-out loss of a run that ended, nats/token.
        tokens_per_s: Throughput.
        message: One sentence for a person, where there is more to say.
    """

    kind: EventKind
    worker: str
    trunk_id: str
    run_id: str | None = None
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens_per_s: float | None = None
    message: str = ""

    def line(self) -> str:
        """The event as one line of text."""
        parts = [f"{self.worker} {self.trunk_id}", "" if self.kind == "step" else self.kind]
        if self.run_id:
            parts.append(f"run {self.run_id}")
        if self.steps:
            parts.append(f"step {self.step}/{self.steps}")
        if self.loss is not None and math.isfinite(self.loss):
            # On the way the loss is that of the training stream; of a run that ended, that on held-out text.
            parts.append(f"{'training loss' if self.kind == 'step' else 'loss'} {self.loss:.4f}")
        if self.tokens_per_s:
            parts.append(f"{self.tokens_per_s:,.0f} tokens/s")
        return " ".join(filter(None, parts)) + (f" — {self.message}" if self.message else "")


_TELLING_PART = 0.03
"""Share of the work left that must be done before its pace says anything."""


class FlopsMeter:
    """How much of a sweep's work is done, in FLOPs, from its events.

    Runs differ in cost by orders of magnitude, so a count of runs says little about the time that is left.
    """

    def __init__(self, trunk_flops: dict[str, float], *, done: float = 0.0):
        self._flops = trunk_flops
        self._parts: dict[str, float] = {}
        self._done_before = done
        self.total = done + sum(trunk_flops.values())

    def update(self, event: Event) -> None:
        """Take an event into account."""
        if event.kind == "step" and event.steps:
            part = min(1.0, event.step / event.steps)
            self._parts[event.trunk_id] = max(part, self._parts.get(event.trunk_id, 0.0))
        elif event.kind in ("finished", "blocked"):
            self._parts[event.trunk_id] = 1.0

    @property
    def done(self) -> float:
        """FLOPs done, those of earlier sessions included."""
        return self._done_before + sum(self._flops.get(trunk, 0.0) * part for trunk, part in self._parts.items())

    def remaining_s(self, elapsed_s: float) -> float | None:
        """Seconds left at the pace so far; None while too little is done to tell (start-up and compilation)."""
        spent, left = self.done - self._done_before, self.total - self.done
        return left * elapsed_s / spent if spent > _TELLING_PART * left and elapsed_s > 0 else None
