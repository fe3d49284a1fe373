"""Forecasts written down before their students are trained, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options.shared import Force, Json, Overrides, Results, SweepFile, emit
from scaling.files import RESULTS

Out = Annotated[Path, typer.Option("--out", readable=False, help="Folder of the forecasts.", show_default=True)]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (register_forecasts, score):
        name = "register" if command is register_forecasts else None
        app.command(name, rich_help_panel="Fit, forecast, recommend (no jax)")(command)


def register_forecasts(
    sweep_file: SweepFile,
    fit_file: Annotated[Path, typer.Option("--fit", readable=False, metavar="FIT.json", help="What forecasts.")],
    out: Out = Path("forecasts"),
    results: Results = None,
    overrides: Overrides = None,
    level: Annotated[float, typer.Option("--level", min=0.01, max=0.999, help="Of the intervals.")] = 0.9,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Write down what a fit says of a sweep's runs before they are trained: one file a run, with a hash."""
    from dataclasses import asdict

    from scaling.chain.workspace import Workspace
    from scaling.fit.saved.files import fit_at, fit_id_of, load
    from scaling.predict.registered import register, save_all
    from scaling.report.registered import show_registered

    workspace = Workspace.open(sweep_file, results=results, overrides=overrides or ())
    fit = load(fit_file)
    fit_id = fit_id_of(fit_at(fit_file).read_text("utf-8"))
    # Nothing is written before all of them are known to be forecasts.
    found = register(fit, workspace.runs, workspace.store, fit_id=fit_id, level=level, force=force)
    save_all(found, out)
    told = [asdict(one) | {"hash": one.hash} for one in found]
    emit(told, as_json=json_, show=lambda _: show_registered(found, sweep_file, out))


def score(
    folder: Annotated[Path, typer.Argument(readable=False, metavar="FORECASTS", help="Folder of the forecasts.")],
    results: Annotated[
        Path, typer.Option("--results", readable=False, help="A results folder, a sweep's folder, or a runs table.")
    ] = RESULTS,
    json_: Json = False,
) -> None:
    """Compare registered forecasts with the runs that were trained since."""
    from scaling.predict.registered import score as score_forecasts
    from scaling.records import load_runs
    from scaling.report.registered import show_score

    found = score_forecasts(folder, load_runs(results))
    emit(found, as_json=json_, show=show_score)
