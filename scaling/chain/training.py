"""The stages that train: what there is to do, doing it, and the table of what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from scaling.chain.foresee import check_memory, check_question
from scaling.chain.ways_on import grid_warning
from scaling.chain.workspace import Workspace
from scaling.errors import RecordError
from scaling.records import runs_table
from scaling.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

    from scaling.sweep.plan import Plan
    from scaling.sweep.progress import Listener
    from scaling.sweep.run import SweepOutcome

Watch = Callable[["Plan"], AbstractContextManager["Listener"]]
"""Opens something that shows the events of a plan's training; `scaling.report.progress.show_progress` is one."""

LOCAL = (None, "local")
"""Executors whose workers are processes of this machine; what runs inline may be one rank of many."""


def plan_stage(workspace: Workspace, *, calibrate: bool = False, design: bool = False, elsewhere: bool = False) -> Plan:
    """What there is to train, and what it costs.

    Args:
        workspace: The sweep.
        calibrate: Time three steps of each shape first.
        design: Work out the forecast error that this design supports, which loads pandas.
        elsewhere: Another machine trains it, so that this one's memory is no bound.

    Raises:
        ConfigError: nothing that the sweep could train can answer its question, or this machine cannot train it.
    """
    from scaling.sweep.plan import plan

    check_question(workspace)
    where = workspace.config.fit.where
    made, pace = plan(workspace.runs, workspace.store, where=where), None
    # Before a step of it is timed here.
    if not elsewhere:
        check_memory(workspace, made)
    if calibrate:
        from scaling.sweep import pace as paces
        from scaling.train.step import time_steps

        pace = paces.calibrate([run.spec for run in made.runs if run.is_due], workspace.store.prepare(), time_steps)
    if calibrate or design:
        made = plan(workspace.runs, workspace.store, pace=pace, where=where, expectation=design)
    warning = grid_warning(workspace)
    return replace(made, warnings=(*made.warnings, warning)) if warning else made


def train_stage(
    workspace: Workspace,
    *,
    runs: Sequence[RunSpec] | None = None,
    jobs: int = 1,
    watch: Watch | None = None,
    **options,
) -> SweepOutcome:
    """Train what is missing of the sweep, or of the runs named.

    Raises:
        ConfigError: as `train_runs`.
        Preempted: likewise.
        RecordError: if a run that later stages need failed.
    """
    outcome = train_runs(workspace, workspace.runs if runs is None else runs, jobs=jobs, watch=watch, **options)
    # A teacher or a start that was trained on the way is done as well, and says nothing of the students.
    if lost := [_without_result(workspace, run.run_id, outcome) for run in runs or () if not _is_done(workspace, run)]:
        raise RecordError("\n".join(lost))
    return outcome


def _is_done(workspace: Workspace, run: RunSpec) -> bool:
    from scaling.sweep.outcomes import state_of

    return state_of(workspace.store, run.run_id) == "done"


def _without_result(workspace: Workspace, run_id: str, outcome: SweepOutcome) -> str:
    """Why a student that was asked for has no result, and what to do."""
    from scaling.sweep.outcomes import look

    failed = {failure.run_id: failure.sentence for failure in outcome.failures}
    state, start = look(workspace.store, run_id).state, f"the recommended student {run_id} has no result — "
    if run_id in outcome.blocked:
        why = next(iter(failed.values()), "it diverged")
        return f"{start}its teacher or start has none: {why}; lower the learning rate of that one and run again"
    if state in ("diverged", "failed"):
        return f"{start}{failed.get(run_id, 'its loss diverged')}; lower its learning rate and run again"
    return f"{start}it is {state}; run again"


def train_runs(
    workspace: Workspace, runs: Sequence[RunSpec], *, jobs: int = 1, watch: Watch | None = None, **options
) -> SweepOutcome:
    """Train what is missing of some runs.

    Raises:
        ConfigError: a training does not fit the memory of this machine, on which it would run.
        Preempted: if a stop was asked for.
    """
    from scaling.sweep.plan import plan
    from scaling.sweep.run import run

    planned = plan(runs, workspace.store)
    if options.get("executor") in LOCAL:
        check_memory(workspace, planned, jobs=jobs)
    # What is there already is not trained, and does not open a display.
    with watch(planned) if watch and planned.pending else nullcontext() as progress:
        outcome = run(
            planned,
            workspace.store,
            jobs=jobs,
            progress=progress,
            sweep_path=workspace.config.path,
            overrides=workspace.overrides,
            **options,
        )
    if outcome.stopped:
        raise outcome.interruption()
    return outcome


def collect_stage(workspace: Workspace, *, also: Sequence[RunSpec] = ()) -> pd.DataFrame:
    """The runs table of the sweep, written to runs.parquet, and its training logs, to metrics.parquet.

    Args:
        workspace: The sweep.
        also: Further runs that belong into the table: students that were recommended and trained.
    """
    from scaling.records import write_parquet
    from scaling.sweep.collect import metrics_table

    run_ids = list(dict.fromkeys(run.run_id for run in (*workspace.runs, *also)))
    table = runs_table(workspace.store.records(run_ids))
    write_parquet(workspace.table_path, table)
    write_parquet(workspace.folder / "metrics.parquet", metrics_table(workspace.store, run_ids))
    return table
