"""Commands that ask more of runs than one law: the best split of a budget, and which of two arms is better."""

from __future__ import annotations

from typing import Annotated

import typer

from scaling.cli.fits import Law, Level, Map, Table, Where, columns_of, mapping_of, runs_of
from scaling.cli.options import Json, count, emit

Budgets = Annotated[str, typer.Option("--flops", metavar="C,C,…", help="Training budgets, as 1e20,1e21.")]
CostRule = Annotated[str | None, typer.Option("--cost", metavar="EXPR", help="FLOPs of n and d, instead of 6*n*d.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(frontier)


def frontier(
    table: Table,
    flops: Budgets,
    map_: Map = "",
    where: Where = None,
    law: Law = None,
    cost: CostRule = None,
    level: Level = 0.9,
    json_: Json = False,
) -> None:
    """The best model size for a budget, by the law, by isoFLOP parabolas and by the envelope of the runs."""
    from scaling.fit.allocation.cost import SIX_ND, cost_of
    from scaling.fit.allocation.frontier import frontier as find_frontier
    from scaling.report.allocation import show_frontier

    mapping = mapping_of(map_)
    runs = runs_of(table, mapping)
    found = find_frontier(
        runs,
        [count(part, "flops") for part in flops.split(",")],
        law=law or "stack",
        where=where,
        cost=SIX_ND if cost is None else cost_of(cost),
        level=level,
        **columns_of(mapping, runs),
    )
    emit(found, as_json=json_, show=show_frontier)
