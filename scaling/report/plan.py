"""The plan and the state of a sweep, as tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.table import Table

from scaling.formats.plain import to_json
from scaling.report.numbers import energy, number, size
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.sweep.plan import Plan
    from scaling.sweep.status import SweepStatus

WATCH_EVERY_S = 2.0


def show_plan(plan: Plan, *, jobs: int) -> None:
    """Every run with its price, the totals, and what is likely to spoil the answer."""
    from scaling.sweep.display import duration

    table = Table(box=None, pad_edge=False)
    for name in ("run", "trunk", "state", "teacher", "width", "N", "D", "steps", "FLOPs", "time", "disk"):
        table.add_column(name, justify="left" if name in ("run", "trunk", "state", "teacher") else "right")
    for run in plan.runs:
        row = run.row()
        table.add_row(
            row["run_id"],
            row["trunk_id"],
            row["state"] if row["role"] == "student" else f"{row['state']}, teacher",
            row["teacher"],
            str(row["width"]),
            number(row["n_params"]),
            number(row["n_tokens"]),
            f"{row['steps']:,}",
            f"{row['flops']:.2e}",
            duration(row["seconds"]),
            size(row["checkpoint_bytes"]),
            style="dim" if row["state"] == "done" else None,
        )
    show(table)
    # Totals: what there is, what is left to pay, what may spoil the answer.
    counts = ", ".join(f"{count} {state}" for state, count in plan.counts().items() if count)
    print(f"\n{len(plan.runs)} runs of {len(plan.trunks)} trunks: {counts}")
    print("a trunk is one training, from which a run branches off and cools down at each number of tokens D")
    if plan.pending:
        low, high = plan.seconds_range(jobs)
        about = duration(low) if low == high else f"{duration(low)} to {duration(high)}"
        print(
            f"left: {plan.flops:.3g} FLOPs, about {about} with {jobs} job{'s' * (jobs != 1)}, {energy(plan.kwh())}, "
            f"{size(plan.step_bytes)} memory a worker, {size(plan.checkpoint_bytes)} disk"
        )
        print(f"({plan.pace.basis}; compiling, evaluation and teachers' text are counted)")
    if plan.forecast_error is not None:
        print(f"expected error of the forecast that this design supports: {plan.forecast_error:.2%}")
    for warning in plan.warnings:
        print(f"warning: {warning}")


def show_status(look: Callable[[], SweepStatus], *, watch: bool, as_json: bool) -> None:
    """The state of a sweep, once or until it is finished."""
    while True:
        state = look()
        print(to_json(state)) if as_json else _show_state(state)
        unfinished = state.counts["running"] + state.counts["pending"]
        if not (watch and unfinished):
            return
        time.sleep(WATCH_EVERY_S)


def _show_state(state: SweepStatus) -> None:
    from scaling.sweep.display import duration

    table = Table(box=None, pad_edge=False)
    for name in ("run", "state", "teacher", "N", "D", "loss"):
        table.add_column(name, justify="left" if name in ("run", "state", "teacher") else "right")
    for run in state.runs:
        loss = "" if run.loss is None else f"{run.loss:.4f}"
        table.add_row(run.run_id, run.state, run.teacher, number(run.n_params), number(run.n_tokens), loss)
    show(table)
    counts = ", ".join(f"{count} {name}" for name, count in state.counts.items() if count)
    share = state.flops_done / state.flops_total if state.flops_total else 1.0
    settled = "done or given up" if state.counts["failed"] else "done"
    left = f", about {duration(state.remaining_s)} left" if state.remaining_s else ""
    pace = f", {state.tokens_per_s:,.0f} tokens/s" if state.counts["running"] else ""
    print(f"\n{counts}; {share:.0%} of the FLOPs {settled}{pace}{left}")
    for worker in state.workers:
        quiet = f", silent for {duration(worker.quiet_s)}" if worker.silent else ""
        print(f"  {worker.name}: trunk {worker.trunk_id}, step {worker.step}/{worker.steps}{quiet}")
    for failure in state.failures:
        print(f"  {failure.sentence}")
        for line in failure.log_tail:
            print(f"    | {line}")
