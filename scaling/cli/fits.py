"""Commands of runs tables: fit, backtest, import. None of them loads jax."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli.options.shared import (
    Json,
    OnlyResults,
    Overrides,
    Results,
    emit,
    finite,
    is_sweep_file,
    listed,
    pairs,
    refuse_without_effect,
    say,
    word,
)
from scaling.files import RESULTS

if TYPE_CHECKING:
    import pandas as pd

Table = Annotated[
    Path,
    typer.Argument(
        readable=False, metavar="TABLE", help="SWEEP.yaml, a results folder, that of a sweep, .parquet or .csv."
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="n=COL,d=COL,loss=COL",
        help="Columns of a foreign table; teacher=COL names what was read; may be repeated.",
    ),
]
Where = Annotated[str | None, typer.Option("--where", metavar="EXPR", help="Rows to use, as 'flops < 1e21'.")]
Law = Annotated[str | None, typer.Option("--law", help="Form, as chinchilla, or auto; by default the stack of forms.")]
Level = Annotated[float, typer.Option("--level", help="Level of intervals.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (fit, backtest):
        app.command(rich_help_panel="Fit, forecast, recommend (no jax)")(command)
    app.command("import", rich_help_panel="Fit, forecast, recommend (no jax)")(import_)


def fit(
    table: Table,
    map_: Map = None,
    where: Where = None,
    law: Annotated[
        str | None,
        typer.Option(
            "--law", help="Form, as chinchilla, or auto; by default the sweep file's, else the stack of forms."
        ),
    ] = None,
    held: Annotated[
        list[str] | None, typer.Option("--held", metavar="E=2.0", help="A coefficient that is known and not fitted.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, metavar="FIT.json", help="Where to write the fit.")
    ] = None,
    results: Results = None,
    overrides: Overrides = None,
    json_: Json = False,
) -> None:
    """Fit a scaling law to the runs of a sweep, or to any table."""
    from scaling.fit.fitter import fit as fit_table
    from scaling.fit.saved.files import save
    from scaling.report.tables import show_fit

    if is_sweep_file(table):
        from scaling.chain.decision import fit_stage
        from scaling.chain.training import collect_stage
        from scaling.chain.workspace import Workspace

        # Columns and rows of a sweep are those that its own file names under fit.
        beside = f"a sweep file ({table}), whose own fit.where, fit.n and fit.loss are set by --set"
        refuse_without_effect(beside, {"--map": map_ or None, "--where": where})
        workspace = Workspace.open(table, results=results, overrides=overrides or ()).prepare()
        found = fit_stage(workspace, collect_stage(workspace), law=law, held=numbers_of(held), say=say)
        say(f"wrote {workspace.fit_path}")
    else:
        refuse_without_effect(f"a table ({table})", {"--set": overrides})
        mapping = mapping_of(map_)
        runs = runs_of(table, mapping, results)
        names = columns_of(mapping, runs, where)
        found = fit_table(runs, law=law or "stack", where=where, held=numbers_of(held), **names)
    if out is not None:
        save(found, out)
        say(f"wrote {out}")
    emit(found, as_json=json_, show=show_fit)


def backtest(
    table: Table,
    train: Annotated[str | None, typer.Option("--train", metavar="EXPR", help="Rows to fit.")] = None,
    test: Annotated[str | None, typer.Option("--test", metavar="EXPR", help="Rows to forecast.")] = None,
    map_: Map = None,
    law: Law = None,
    level: Annotated[float | None, typer.Option("--level", help="Level of intervals; by default 0.9.")] = None,
    decision: Annotated[
        float | None,
        typer.Option(
            "--decision", metavar="P", help="Recommend among runs of the largest size instead, and score that."
        ),
    ] = None,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Fit some rows of a table, forecast others, and score the forecast."""
    from scaling.fit.backtest import backtest as run_backtest
    from scaling.report.tables import show_backtest, show_hindsight

    mapping = mapping_of(map_)
    runs = runs_of(table, mapping, results)
    if decision is not None:
        from scaling.predict.recommend.hindsight import hindsight

        # Which rows are left out follows from the question: all runs of the largest size.
        refuse_without_effect("--decision", {"--train": train, "--test": test, "--level": level})
        scored = hindsight(runs, probability=decision, law=law or "stack", **columns_of(mapping, runs))
        emit(scored, as_json=json_, show=show_hindsight)
        return
    how = columns_of(mapping, runs, train, test) | ({} if level is None else {"level": level})
    found = run_backtest(runs, train=train, test=test, law=law or "stack", **how)
    emit(found.to_plain() if json_ else found, as_json=json_, show=show_backtest)


def import_(
    table: Annotated[Path, typer.Argument(readable=False, metavar="FILE.csv", help="Other people's runs.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Folder under the results folder.")],
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="n_params=COL,n_tokens=COL,…", help="Columns; may be repeated."),
    ] = None,
    where: Where = None,
    results: OnlyResults = None,
    json_: Json = False,
) -> None:
    """Make other people's runs ready to be fitted: RESULTS/NAME/runs.parquet."""
    from scaling.records import check_name
    from scaling.sweep.collect import import_runs

    folder = (results or RESULTS) / check_name(name)
    found = import_runs(table, folder, map=mapping_of(map_), where=where)
    written = {"runs": len(found), "folder": str(folder)}
    emit(written, as_json=json_, show=lambda _: say(f"imported {len(found)} runs into {folder}"))


def runs_of(table: Path, mapping: dict[str, str], results: Path | None) -> pd.DataFrame:
    """Runs of a foreign table, of our own results, or of a sweep, with the mapped columns added.

    Of a sweep they are those that its ``fit.where`` keeps; n, loss and the law are said on the command line.
    """
    from scaling.records import load_runs
    from scaling.tables.read import map_columns, select_rows

    if not is_sweep_file(table):
        refuse_without_effect(f"a table ({table})", {"--results": results})
        runs = load_runs(table)
        # The folder of a sweep that nobody trained yet; any other empty table is the fitter's to refuse.
        if not len(runs) and table.is_dir() and (table / "sweep.yaml").is_file():
            return runs_of(table / "sweep.yaml", mapping, results)
        return map_columns(runs, mapping)
    from scaling.chain.workspace import Workspace
    from scaling.errors import RecordError

    workspace = Workspace.open(table, results=results)
    if not workspace.table_path.exists() or not len(runs := load_runs(workspace.folder)):
        raise workspace.no_finished_run("read")
    where = workspace.config.fit.where
    kept = select_rows(runs, where)
    if not len(kept):
        raise RecordError(f"{table}: fit.where {where!r} keeps none of {len(runs)} runs — name rows that are there")
    return map_columns(kept, mapping)


def columns_of(mapping: dict[str, str], runs: pd.DataFrame, *expressions: str | None) -> dict[str, Any]:
    """Where the fitter finds n, d, loss and whatever else a law is a function of.

    A column that is mapped as it is keeps its name, so that the fit says which count of parameters it used. One that
    another column or one of the expressions is made of needs no name that a law reads.

    Raises:
        RecordError: nothing reads one of them.
    """
    from scaling.tables.expression import columns_named
    from scaling.tables.roles import check_roles, is_role
    from scaling.tables.units import SIZE_COLUMNS

    made_of = [set(columns_named(text, runs)) - {name} for name, text in mapping.items()]
    parts = set().union(*made_of, *(columns_named(text, runs) for text in expressions if text))
    mapping = {name: column for name, column in mapping.items() if is_role(name) or name not in parts}
    check_roles(mapping)
    said = {name: column if column in runs else name for name, column in mapping.items()}
    named: dict[str, Any] = {name: said[name] for name in ("n", "d", "loss") if name in said}
    # Columns under the names of our own tables are found there; any other is one that the law reads.
    others = {name: column for name, column in said.items() if name not in {*named, "n_tokens", *SIZE_COLUMNS}}
    return named | {"columns": others} if others else named


def numbers_of(held: list[str] | None) -> dict[str, float] | None:
    """``E=2.0`` as a mapping to numbers; None where nothing was given."""
    return pairs(held, "held", finite, example="E=2.0") or None


def mapping_of(texts: list[str] | None) -> dict[str, str]:
    """``n=COL,d=COL``, in one option or several, as a mapping."""
    entries = [entry for text in texts or () for entry in listed(text, "map")]
    return pairs(entries, "map", word, example="n=params,d=tokens,loss=val_loss")
