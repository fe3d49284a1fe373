"""What a sweep says while it works: one type of event, for a terminal, a log, or a test."""

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
