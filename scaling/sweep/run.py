"""Run a plan: start its workers by an executor, and say how the sweep ended."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaling.errors import EXIT_OK, EXIT_PREEMPTED, EXIT_SOME_FAILED, Preempted
from scaling.records import RunStore
from scaling.stop import Stop, stop_on_signals
from scaling.sweep.executors.executor import EXECUTORS, Request
from scaling.sweep.outcomes import DUE, RUN_STATES, Failure, failures, state_of, torn
from scaling.sweep.plan import Plan
from scaling.sweep.progress import Listener
from scaling.sweep.trainer import Trainer
from scaling.sweep.trunks import Trunk
from scaling.sweep.worker import WorkerOptions, WorkerReport


@dataclass(frozen=True, kw_only=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        counts: Runs by state: done, diverged, failed, new, damaged.
        trained: Runs trained by this call.
        failures: Failed runs with the end of their logs.
        blocked: Runs whose teacher or start failed.
        exit_code: 0; 1 if runs failed; 75 or 130 if stopped; 75 if this machine could not go on.
        obstacle: What this machine could not do; empty for none.
        wall_s: Seconds of this call.
    """

    counts: dict[str, int]
    trained: tuple[str, ...]
    failures: tuple[Failure, ...]
    blocked: tuple[str, ...]
    exit_code: int
    wall_s: float
    obstacle: str = ""

    @property
    def stopped(self) -> bool:
        """True if the sweep was stopped before its end; the same command goes on."""
        return self.exit_code not in (EXIT_OK, EXIT_SOME_FAILED)

    def interruption(self) -> Preempted:
        """The error of a command that was stopped: exits with 130 after Ctrl-C, else 75, and names what goes on."""
        # Of `python -m scaling` the first word is a file.
        program = Path(sys.argv[0]).name.replace("__main__.py", "scaling")
        command = shlex.join([program, *sys.argv[1:]])
        why = f"{self.obstacle}; " if self.obstacle else ""
        error = Preempted(f"{why}stopped after {len(self.trained)} runs; state is saved — go on with: {command}")
        error.exit_code = self.exit_code
        return error


def run(
    plan: Plan,
    store: RunStore,
    *,
    jobs: int = 1,
    executor: str | None = None,
    progress: Listener | None = None,
    options: WorkerOptions | None = None,
    trainer: Trainer | None = None,
    sweep_path: str | Path | None = None,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> SweepOutcome:
    """Train what is left of a plan.

    A stop (Ctrl-C, TERM, HUP, USR1, USR2) saves checkpoints, releases claims and comes back with ``stopped`` true.

    Args:
        plan: The plan.
        store: The results folder.
        jobs: Workers to start.
        executor: ``inline``, ``local``, ``slurm``, ``print`` or one that a package adds by the entry point group
            ``scaling.executors``; by default ``inline`` for one job, else ``local``.
        progress: Called with every event.
        options: How workers behave.
        trainer: What trains a trunk; by default the framework's own.
        sweep_path: The sweep file, needed by executors whose workers run elsewhere.
        overrides: ``--set`` of the sweep, for the same.
        settings: Options of the executor: Slurm's partition, nodes, time and the like.

    Raises:
        ScalingError: if there is no such executor, or it has no such option.
    """
    jobs = max(1, min(jobs, len(plan.pending)))
    start = EXECUTORS[executor or ("local" if jobs > 1 else "inline")]
    began = time.monotonic()
    with stop_on_signals() as stop:
        report = WorkerReport()
        # The plan knows sizes alone; a record whose content was changed is found here.
        if plan.pending or torn(store, [run.spec.run_id for run in plan.runs]):
            request = Request(
                trunks=plan.trunks if jobs == 1 else longest_first(plan.trunks),
                store=store.prepare(),
                jobs=jobs,
                options=options or WorkerOptions(),
                stop=stop,
                trainer=trainer,
                sweep_path=Path(sweep_path) if sweep_path else None,
                overrides=tuple(overrides),
                settings=dict(settings or {}),
            )
            report = start(replace(request, progress=progress) if progress else request)
    return _outcome(plan, store, report, stop, time.monotonic() - began)


def longest_first(trunks: Sequence[Trunk]) -> list[Trunk]:
    """Teachers, then the rest by falling cost: several workers then end at about the same time."""
    needed = {run_id for trunk in trunks for run_id in trunk.needs}
    return sorted(trunks, key=lambda trunk: (needed.isdisjoint(trunk.run_ids), -trunk.flops))


def _outcome(plan: Plan, store: RunStore, report: WorkerReport, stop: Stop, wall_s: float) -> SweepOutcome:
    run_ids = [run.spec.run_id for run in plan.runs]
    states = [state_of(store, run_id) for run_id in run_ids]
    failed = tuple(failures(store, run_ids))
    left = DUE.intersection(states)
    incomplete = failed or report.blocked or (left and not report.elsewhere)
    return SweepOutcome(
        counts={state: states.count(state) for state in RUN_STATES},
        trained=tuple(dict.fromkeys(report.trained)),
        failures=failed,
        blocked=tuple(dict.fromkeys(report.blocked)),
        exit_code=_exit_code(stop, report, incomplete=bool(incomplete)),
        wall_s=wall_s,
        obstacle=report.obstacle,
    )


def _exit_code(stop: Stop, report: WorkerReport, *, incomplete: bool) -> int:
    if stop():
        return stop.exit_code
    if report.obstacle:
        return EXIT_PREEMPTED
    return EXIT_SOME_FAILED if incomplete else EXIT_OK
