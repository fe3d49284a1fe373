"""The plan of a sweep, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from scaling.numbers import duration, number, size
from scaling.report.numbers import energy
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.sweep.plan import Plan


def show_plan(plan: Plan, *, jobs: int) -> None:
    """Every run with its price, the totals, and what is likely to spoil the answer."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "trunk", "state", "teacher", "width", "N", "D", "steps", "FLOPs", "time", "disk"):
        table.add_column(name, justify="left" if name in ("run", "trunk", "state", "teacher") else "right")
    for run in plan.runs:
        row = run.row()
        table.add_row(
            row["run_id"],
            row["trunk_id"],
            row["state"] if row["role"] == "student" else f"{row['state']}, {row['role']}",
            row["teacher"],
            str(row["width"]),
            number(row["n_params"]),
            number(row["n_tokens"]),
            f"{row['steps']:,}",
            f"{row['flops'] + (row['teacher_flops'] or 0.0):.2e}",
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
        print(f"({plan.pace.basis}; compiling, evaluation, and what teachers that are runs compute are counted)")
    if plan.forecast_error is not None:
        print(f"expected error of the forecast that this design supports: {plan.forecast_error:.2%}")
    for warning in plan.warnings:
        print(f"warning: {warning}")
