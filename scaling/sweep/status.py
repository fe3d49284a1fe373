"""Where a sweep stands, from the files alone: anyone may look, from any machine, while it runs or after."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaling.accounting import count_parameters
from scaling.records import RunStore
from scaling.spec import TextLabel, text_labels
from scaling.sweep.cost import Cost
from scaling.sweep.lease import is_dead, latest_generation, read_lease
from scaling.sweep.outcomes import DUE, Failure, Seen, failures, look
from scaling.sweep.pace import Pace, known_pace
from scaling.sweep.trunks import Trunk

SILENT_AFTER_S = 60.0
"""A worker that wrote nothing for so long is shown as silent; only claimants decide that one elsewhere is dead."""


_STATES = ("done", "diverged", "failed", "damaged", "running", "pending")


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker as its lease shows it.

    Attributes:
        name: Host and process.
        trunk_id: What it works on.
        step: Steps done.
        steps: Steps to do.
        loss: Training loss now, nats/token.
        tokens_per_s: Throughput now.
        quiet_s: Seconds since it last wrote, by the file system's clock.
        remaining_s: Seconds left for its trunk at that throughput; None before there is one.
        gone: True if it ran on this machine and does so no longer.
    """

    name: str
    trunk_id: str
    step: int
    steps: int
    loss: float | None
    tokens_per_s: float | None
    quiet_s: float
    remaining_s: float | None = None
    gone: bool = False

    @property
    def silent(self) -> bool:
        """True if nothing is to be expected of it: it is gone, or has not been heard of for a minute."""
        return self.gone or self.quiet_s > SILENT_AFTER_S


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run of the status table."""

    run_id: str
    trunk_id: str
    state: str
    n_params: int
    n_tokens: int
    teacher: str
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """A sweep at one moment.

    Attributes:
        counts: Runs by state: done, diverged, failed, damaged, running, pending.
        runs: Every run with its loss so far.
        workers: Who works on what.
        failures: Failed runs with the end of their logs.
        tokens_per_s: Sum over the workers that are heard of.
        flops_done: Of the whole sweep.
        flops_total: Of the whole sweep.
        remaining_s: Estimated seconds with the workers of this moment (one, if there is none).
    """

    counts: dict[str, int]
    runs: tuple[RunRow, ...]
    workers: tuple[WorkerState, ...]
    failures: tuple[Failure, ...]
    tokens_per_s: float
    flops_done: float
    flops_total: float
    remaining_s: float


def status(trunks: Sequence[Trunk], store: RunStore, *, pace: Pace | None = None) -> SweepStatus:
    """Look at a sweep.

    Args:
        trunks: All trunks of the sweep (:func:`scaling.sweep.trunks.group`).
        store: The results folder; it is only read, but for a file that is gone at once and tells its clock.
        pace: Seconds of a step; by default what the results folder knows.
    """
    seen = {spec.run_id: look(store, spec.run_id) for trunk in trunks for spec in trunk.specs}
    unfinished = [trunk for trunk in trunks if any(seen[run_id].state in DUE for run_id in trunk.run_ids)]
    # Only the unfinished can have a worker: of the others no lease is read.
    now = _now(store.root / "claims") if unfinished else 0.0
    workers = [state for trunk in unfinished if (state := _worker(store, trunk, now)) is not None]
    busy = {worker.trunk_id: worker for worker in workers if not worker.silent}
    labels = text_labels(spec.data for trunk in trunks for spec in trunk.specs)
    rows = [row for trunk in trunks for row in _rows(trunk, seen, busy, labels)]
    states = [row.state for row in rows]
    due = {run_id for run_id, found in seen.items() if found.state in DUE}
    told = {trunk_id: max(0, worker.steps - worker.step) for trunk_id, worker in busy.items()}
    # Counted as a plan counts: what it promised, and what is left of it, are one estimate.
    pace = pace or known_pace([trunk.specs[0] for trunk in unfinished], store)
    cost = Cost.of(trunks, due, store, pace, told=told)
    return SweepStatus(
        counts={state: states.count(state) for state in _STATES},
        runs=tuple(rows),
        workers=tuple(workers),
        failures=tuple(failures(store, [row.run_id for row in rows if row.state == "failed"])),
        tokens_per_s=sum(worker.tokens_per_s or 0.0 for worker in busy.values()),
        flops_done=cost.flops_done,
        flops_total=cost.flops_total,
        remaining_s=cost.seconds(len(busy)),
    )


def _rows(
    trunk: Trunk, seen: Mapping[str, Seen], busy: Mapping[str, WorkerState], labels: Mapping[str, TextLabel]
) -> list[RunRow]:
    n_params = count_parameters(trunk.specs[0].model).n_params
    waiting = "running" if trunk.trunk_id in busy else "pending"
    return [
        RunRow(
            run_id=spec.run_id,
            trunk_id=trunk.trunk_id,
            state=waiting if found.state == "new" else found.state,
            n_params=n_params,
            n_tokens=spec.n_tokens,
            teacher=labels[spec.data.text_id].teacher,
            loss=found.outcome.loss if found.outcome else None,
        )
        for spec in trunk.specs
        for found in [seen[spec.run_id]]
    ]


def _worker(store: RunStore, trunk: Trunk, now: float) -> WorkerState | None:
    folder = store.root / "claims" / trunk.trunk_id
    state = read_lease(folder)
    if state is None or state.released:
        return None
    note = state.note
    step, steps, tokens_per_s = note.get("step", 0), note.get("steps", trunk.steps), note.get("tokens_per_s")
    return WorkerState(
        name=state.owner,
        trunk_id=trunk.trunk_id,
        step=step,
        steps=steps,
        loss=note.get("loss"),
        tokens_per_s=tokens_per_s,
        quiet_s=_quiet_s(folder, now),
        remaining_s=(steps - step) * trunk.specs[0].step_tokens / tokens_per_s if tokens_per_s else None,
        gone=is_dead(state),
    )


def _quiet_s(folder: Path, now: float) -> float:
    written = _stamp(folder / f"lease.{latest_generation(folder)}")
    return max(0.0, now - written) if written else 0.0


def _stamp(file: Path) -> float:
    """When a file was written; 0 where it is gone by now."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _now(claims: Path) -> float:
    """Now by the clock that stamps the files: a file server's may be hours away from this machine's."""
    try:
        # Without a name and gone at once: status leaves nothing behind.
        with tempfile.TemporaryFile(dir=claims) as file:
            # Written to, for a file server stamps what it is sent.
            os.write(file.fileno(), b".")
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        # A folder that may only be read: the last beat of any worker is the latest moment that is known.
        return max(map(_stamp, claims.glob("*/lease.*")), default=0.0)
