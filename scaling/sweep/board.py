"""How a sweep stands, trunk by trunk: from the events of this process, or from what anyone can read in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from scaling.sweep.plan import Plan
from scaling.sweep.progress import Event
from scaling.sweep.status import RunRow, SweepStatus, WorkerState

WAITING, TRAINING, DONE = "waiting", "training", "done"

_GIVEN_UP = ("failed", "diverged", "blocked")

_TELLING_PART = 0.03
"""Share of the work left that must be done before its pace says anything."""


@dataclass(frozen=True, kw_only=True)
class TrunkLine:
    """One trunk at one moment.

    Attributes:
        trunk_id: Which one.
        teacher: What its students read.
        n_params: N of its students.
        state: waiting, preparing, training, silent, done, or how it was given up.
        part: Share of its steps that is done.
        loss: Of the text in training; once a run has ended, of that run on held-out text. Nats/token.
        tokens_per_s: Throughput now.
        remaining_s: Seconds left at that throughput.
        note: One sentence of its worker.
    """

    trunk_id: str
    teacher: str
    n_params: int
    state: str = WAITING
    part: float = 0.0
    loss: float | None = None
    tokens_per_s: float | None = None
    remaining_s: float | None = None
    note: str = ""

    def at_rest(self, state: str) -> TrunkLine:
        """The same trunk while no step of it is done."""
        return replace(self, state=state, tokens_per_s=None, remaining_s=None, note="")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A sweep at one moment.

    Attributes:
        lines: Its trunks.
        n_ended: Runs that have ended.
        n_runs: All runs.
        part: Share of the FLOPs that is done.
        remaining_s: Seconds left; None where too little is done to tell, or nothing is left.
        stopping: True while its workers were asked to stop, and save their states.
    """

    lines: tuple[TrunkLine, ...]
    n_ended: int
    n_runs: int
    part: float
    remaining_s: float | None
    stopping: bool = False


class Tally:
    """The pending trunks of a plan, as the events of their workers tell it."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._trunks = {trunk.trunk_id: trunk for trunk in plan.pending}
        self._open = {run.spec.run_id for run in plan.runs if run.is_due}
        told = {run.spec.trunk_id: (run.teacher, run.n_params) for run in plan.runs}
        self._lines = {
            trunk_id: TrunkLine(trunk_id=trunk_id, teacher=teacher, n_params=n_params)
            for trunk_id, (teacher, n_params) in told.items()
            if trunk_id in self._trunks
        }

    def update(self, event: Event) -> None:
        """Take an event into account; one that concerns no trunk of the plan changes nothing."""
        line = self._lines.get(event.trunk_id)
        if line is None:
            return
        if event.run_id and event.kind in ("done", "diverged", "failed"):
            self._open.discard(event.run_id)
            line = replace(line, loss=event.loss, state=event.kind if event.kind != "done" else line.state)
        if event.kind == "finished":
            self._open.difference_update(self._trunks[event.trunk_id].run_ids)
        self._lines[event.trunk_id] = self._moved(line, event)

    def is_open(self, trunk_id: str) -> bool:
        """True while the end of a run of this trunk has not been told."""
        trunk = self._trunks.get(trunk_id)
        return trunk is not None and not self._open.isdisjoint(trunk.run_ids)

    def board(self, elapsed_s: float) -> Board:
        """The state now, so many seconds after the first worker was started."""
        done = self._flops_done()
        total = self._plan.flops_done + self._plan.flops
        spent, left = done - self._plan.flops_done, total - done
        # Runs differ in cost by orders of magnitude, so a count of runs would say little about the time that is left.
        pace = elapsed_s / spent if spent > _TELLING_PART * left and elapsed_s > 0 else None
        return Board(
            lines=tuple(self._lines.values()),
            n_ended=len(self._plan.runs) - len(self._open),
            n_runs=len(self._plan.runs),
            part=done / total if total else 1.0,
            remaining_s=pace * left if pace and left else None,
        )

    def _flops_done(self) -> float:
        flops = self._plan.trunk_flops
        return self._plan.flops_done + sum(flops[line.trunk_id] * line.part for line in self._lines.values())

    def _moved(self, line: TrunkLine, event: Event) -> TrunkLine:
        """The line of a trunk after an event of its own."""
        if event.kind == "blocked" or not self.is_open(event.trunk_id):
            ended = "blocked" if event.kind == "blocked" else line.state if line.state in _GIVEN_UP else DONE
            return replace(line.at_rest(ended), part=1.0)
        if event.kind == "step":
            return self._stepped(line, event)
        if event.kind in ("claimed", "resumed", "taken over"):
            return line.at_rest(TRAINING)
        if event.kind == "preparing":
            return replace(line, state="preparing", note=event.message)
        if event.kind in ("prepared", "retry", "released"):
            return line.at_rest(WAITING)
        return line

    def _stepped(self, line: TrunkLine, event: Event) -> TrunkLine:
        part = min(1.0, event.step / event.steps) if event.steps else 0.0
        tokens = (event.steps - event.step) * self._trunks[event.trunk_id].specs[0].step_tokens
        return replace(
            line,
            state=TRAINING,
            # Another attempt begins where its checkpoint is; what was done once does not count again.
            part=max(part, line.part),
            loss=line.loss if event.loss is None else event.loss,
            tokens_per_s=event.tokens_per_s,
            remaining_s=tokens / event.tokens_per_s if event.tokens_per_s else None,
        )


def board_of(state: SweepStatus) -> Board:
    """The same of a sweep that others work on."""
    workers = {worker.trunk_id: worker for worker in state.workers}
    waiting = state.counts["running"] + state.counts["pending"] + state.counts["damaged"]
    return Board(
        lines=tuple(_line(list(rows), workers.get(trunk_id)) for trunk_id, rows in _by_trunk(state.runs)),
        n_ended=len(state.runs) - waiting,
        n_runs=len(state.runs),
        part=state.flops_done / state.flops_total if state.flops_total else 1.0,
        remaining_s=state.remaining_s or None,
    )


def _by_trunk(rows: Sequence[RunRow]) -> Iterator[tuple[str, Iterator[RunRow]]]:
    return groupby(rows, key=lambda row: row.trunk_id)


def _line(rows: Sequence[RunRow], worker: WorkerState | None) -> TrunkLine:
    states = {row.state for row in rows}
    ended = states.isdisjoint(("running", "pending", "damaged"))
    given_up = next((state for state in _GIVEN_UP if state in states), DONE)
    losses = [row.loss for row in rows if row.loss is not None]
    line = TrunkLine(
        trunk_id=rows[0].trunk_id,
        teacher=rows[0].teacher,
        n_params=rows[0].n_params,
        state=given_up if ended else WAITING,
        part=float(ended),
        loss=losses[-1] if losses else None,
    )
    if worker is None:
        return line
    return replace(
        line,
        state="silent" if worker.silent else TRAINING,
        part=min(1.0, worker.step / worker.steps) if worker.steps else 0.0,
        loss=worker.loss if worker.loss is not None else line.loss,
        tokens_per_s=worker.tokens_per_s,
        remaining_s=worker.remaining_s,
    )
