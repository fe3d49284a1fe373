"""The command that continues a training: its learning curve, or its learning-rate schedule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli.fits import Level, Where, mapping_of
from scaling.cli.options.shared import Force, Json, count, emit, refuse_without_effect

if TYPE_CHECKING:
    import pandas as pd

Columns = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="x=COL,loss=COL", help="Columns; or step=, lr=, loss=, run=; may be repeated."),
]
At = Annotated[str | None, typer.Option("--at", metavar="X", help="Where to continue the curve to, as 2e9 or 300M.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel="Fit, forecast, recommend (no jax)")(curve)


def curve(
    table: Annotated[
        Path, typer.Argument(readable=False, metavar="TABLE", help=".parquet or .csv, one row a measurement.")
    ],
    at: At = None,
    map_: Columns = None,
    where: Where = None,
    form: Annotated[
        str | None, typer.Option("--form", help="One of last, m1, m2, m3, m4, bnsl1, bnsl2; by default auto.")
    ] = None,
    level: Level = 0.9,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Continue a learning curve: loss as a function of x, forecast at a larger x.

    With a column `lr` (and `step`, `run`) the law of learning-rate schedules is fitted to the trainings that have
    losses, and forecasts the last loss of those that have none.
    """
    from scaling.errors import RecordError
    from scaling.records.table import load_runs
    from scaling.tables.read import map_columns, select_rows

    mapping = mapping_of(map_)
    measured = load_runs(table)
    if not len(measured):
        raise RecordError(
            f"{table}: the table has no rows, so no curve to continue — give one with a row a measurement"
        )
    rows = select_rows(map_columns(measured, mapping), where)
    # A learning rate by step asks for the law of schedules, anything else for one of the curve.
    if "lr" in mapping or (at is None and "lr" in rows):
        of_curve = {"--at": at, "--form": form, "--force": force or None}
        refuse_without_effect("a learning rate by step, which asks for the law of schedules", of_curve)
        emit(_scheduled(rows, level), as_json=json_, show=_show_scheduled)
    else:
        found = _continued(rows, at, form=form or "auto", level=level, force=force)
        emit(found, as_json=json_, show=_show_continued)


def _continued(rows: pd.DataFrame, at: str | None, *, form: str, level: float, force: bool) -> dict[str, Any]:
    """A forecast of one curve as JSON values."""
    from scaling.curves.fitter import fit_curve
    from scaling.errors import RecordError, SpecError

    if at is None:
        raise SpecError("--at: got nothing, it is the x that the loss is forecast at — for example --at 2e9")
    missing = [name for name in ("x", "loss") if name not in rows]
    if missing:
        raise RecordError(
            f"the table has no column {' or '.join(missing)}, only {', '.join(map(str, rows))}: name them, as --map "
            "x=tokens,loss=val_loss"
        )
    fit = fit_curve(rows["x"].to_numpy(), rows["loss"].to_numpy(), form=form)
    found = fit.predict(count(at, "at"), level=level, force=force)
    numbers = {name: float(getattr(found, name)) for name in ("value", "low", "high", "reach")}
    outliers = [vars(point) for point in fit.outliers]
    return {"x": count(at, "at"), **numbers, "level": level, "outliers": outliers, "curve": fit.summary()}


def _show_continued(found: dict[str, Any]) -> None:
    interval = f"{found['level']:.0%} [{found['low']:.4f}, {found['high']:.4f}]"
    where = f"{found['reach']:.3g} times beyond the points" if found["reach"] > 1 else "inside the points"
    print(f"loss {found['value']:.4f}  {interval} at x = {found['x']:g}, {where}")
    print(found["curve"])


def _scheduled(rows: pd.DataFrame, level: float) -> dict[str, Any]:
    """Forecasts of trainings without losses from those with losses, as JSON values."""
    from scipy.stats import t as student

    from scaling.curves.schedules import fit_schedules, held_out_error, scheduled_runs
    from scaling.numbers import check_level

    check_level(level)
    runs = scheduled_runs(rows)
    known = [run for run in runs.values() if run.loss is not None]
    law, error = fit_schedules(known), held_out_error(known)
    # The doubt of a handful of forecasts of known trainings is itself in doubt: Student's t.
    factor = None if error is None else math.exp(student.ppf((1 + level) / 2, len(known) - 1) * error)
    forecast = {}
    for name, planned in runs.items():
        if planned.loss is None:
            value = float(law.loss(run=planned)[-1])
            ends = (value / factor, value * factor) if factor else (None, None)
            forecast[name] = {"value": value, "low": ends[0], "high": ends[1]}
    return {"law": repr(law), "level": level, "forecast": forecast}


def _show_scheduled(found: dict[str, Any]) -> None:
    print(found["law"])
    for name, last in found["forecast"].items():
        untold = "no interval: it needs three trainings with losses"
        interval = f"{found['level']:.0%} [{last['low']:.4f}, {last['high']:.4f}]" if last["low"] else untold
        print(f"{name}: last loss {last['value']:.4f}  {interval}")
    if not found["forecast"]:
        print("every training has its losses: add one without any (its steps and rates) to forecast it")
