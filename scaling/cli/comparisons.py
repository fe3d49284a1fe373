"""Commands that ask more of runs than one law: the best split of a budget, and which of two arms is better."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.fits import Law, Level, Map, Table, Where, columns_of, mapping_of, runs_of
from scaling.cli.options.shared import Json, Overrides, Results, SweepFile, count, emit, listed, say

Budgets = Annotated[str, typer.Option("--flops", metavar="C,C,…", help="Of the student's training, as 1e20,1e21.")]
Arms = Annotated[
    list[str],
    typer.Option(
        "--arms",
        metavar="A,B",
        help="The arm in use, and the one proposed; where a name has a comma: --arms A --arms B.",
    ),
]
CostRule = Annotated[str | None, typer.Option("--cost", metavar="EXPR", help="FLOPs of n and d, instead of 6*n*d.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (frontier, compare, next_runs):
        app.command(rich_help_panel="Fit, forecast, recommend (no jax)")(command)


def frontier(
    table: Table,
    flops: Budgets,
    map_: Map = None,
    where: Where = None,
    law: Law = None,
    cost: CostRule = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="Whose text; by default real text.")] = None,
    level: Level = 0.9,
    results: Results = None,
    json_: Json = False,
) -> None:
    """The best model size for a budget, by the law, by isoFLOP parabolas and by the envelope of the runs."""
    from scaling.fit.allocation.cost import SIX_ND, cost_of
    from scaling.fit.allocation.frontier import frontier as find_frontier
    from scaling.report.allocation import show_frontier

    mapping = mapping_of(map_)
    runs = runs_of(table, mapping, results)
    found = find_frontier(
        runs,
        [count(part, "flops") for part in listed(flops, "flops")],
        law=law or "stack",
        where=where,
        cost=SIX_ND if cost is None else cost_of(cost),
        teacher=teacher,
        level=level,
        **columns_of(mapping, runs, where, cost),
    )
    emit(found, as_json=json_, show=show_frontier)


def compare(
    table: Table,
    arms: Arms,
    by: Annotated[str, typer.Option("--by", metavar="COL", help="Column that tells them apart.")] = "teacher",
    pair: Annotated[str, typer.Option("--pair", metavar="COL,…", help="What pairs have in common.")] = "n,d",
    map_: Map = None,
    where: Where = None,
    level: Level = 0.9,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Which of two arms is better, over the settings that both were trained in, and with what chance."""
    from scaling.fit.compare import compare as compare_arms
    from scaling.report.columns import wrapped
    from scaling.tables.expression import column_values
    from scaling.tables.read import select_rows
    from scaling.tables.units import size_column

    mapping = mapping_of(map_)
    runs = select_rows(runs_of(table, mapping, results), where)
    alike = listed(pair, "pair")
    names = columns_of(mapping, runs, where, *(f"`{name}`" for name in (by, *alike)))
    first, second = _two_arms(arms, by)
    standard = {"n": names.get("n", size_column(runs.columns)), "d": names.get("d", "n_tokens")}
    # A column of numbers holds none of the texts that a command line is made of.
    numeric = by in runs and column_values(runs[by]).dtype == float
    one, other = (_number(first), _number(second)) if numeric else (first, second)
    found = compare_arms(
        runs,
        (one, other),
        by=by,
        pair=[standard.get(name, name) for name in alike],
        loss=names.get("loss", "loss"),
        level=level,
    )
    emit(found, as_json=json_, show=lambda shown: print(wrapped(str(shown))))


def _two_arms(given: list[str], by: str) -> tuple[str, str]:
    """The names of both arms: each said by itself, or both at once with a comma between."""
    from scaling.errors import SpecError

    names = [name.strip() for name in (given if len(given) > 1 else given[0].split(","))]
    if len(names) != 2 or not all(names):
        raise SpecError(
            f"--arms: got {' and '.join(map(repr, given))}, allowed are two values of {by} — for example "
            "--arms 'real,noise 0.2', or where a name has a comma --arms real --arms 'noise 0.2, exact'"
        )
    return names[0], names[1]


def _number(text: str) -> float:
    """A value of a column of numbers, which may be zero or less."""
    from scaling.errors import SpecError
    from scaling.numbers import resolve_scalar

    value = resolve_scalar(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"--arms: got {text!r}, allowed are numbers, as the column has — for example 0,1")
    return float(value)


def next_runs(
    sweep_file: SweepFile,
    flops: Annotated[str, typer.Option("--flops", metavar="C", help="Budget of training FLOPs, as 2e12.")],
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, metavar="NEXT.yaml", help="Where to write the sweep file.")
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option("--target-loss", metavar="L", help="In the unit of the fit.")
    ] = None,
    results: Results = None,
    overrides: Overrides = None,
    json_: Json = False,
) -> None:
    """Which runs of a sweep to train next: those that make its recommendation most certain for their FLOPs."""
    from scaling.chain.rounds import next_runs_stage, said, sweep_values
    from scaling.chain.target import ask
    from scaling.chain.workspace import Workspace
    from scaling.files import write_bytes
    from scaling.report.chain import show_advice

    workspace = Workspace.open(sweep_file, results=results, overrides=overrides or ())
    question = ask(workspace, target_loss=target_loss)
    found = next_runs_stage(workspace, count(flops, "flops"), question)
    # A sweep file of no run would train nothing: there is none to write.
    if out is not None and found.runs:
        import yaml

        text = yaml.safe_dump(sweep_values(workspace, found), sort_keys=False, allow_unicode=True)
        write_bytes(out, f"# {said(found)}\n{text}".encode())
        say(f"wrote {out}; train it: scaling sweep {shlex.quote(str(out))}")
    elif out is not None:
        say(f"no run to train: {out} was not written")
    emit(found, as_json=json_, show=show_advice)
