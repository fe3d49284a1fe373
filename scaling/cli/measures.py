"""Commands that measure what a loss alone does not say: the bits that a text costs a learner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.fits import Map, Where, columns_of, mapping_of, runs_of
from scaling.cli.options import RESULTS, Json, Results, emit


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("code-length", rich_help_panel="Fit, forecast, recommend (no jax)")(code_length)


def code_length(
    table: Annotated[
        Path,
        typer.Argument(
            readable=False, metavar="TABLE", help="SWEEP.yaml, a results folder, that of a sweep, .parquet or .csv."
        ),
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="COL,…", help="Columns that tell texts apart, not text_id or teacher.")
    ] = "",
    vocab: Annotated[
        int | None, typer.Option("--vocab", metavar="V", min=2, help="Vocabulary, of a table that does not say it.")
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option("--target-loss", metavar="L", help="Tokens to reach it; by default what all reach.")
    ] = None,
    law: Annotated[
        str, typer.Option("--law", help="Of all runs together; power: E + B/D^β of each arm alone.")
    ] = "stack",
    map_: Map = "",
    where: Where = None,
    results: Results = RESULTS,
    json_: Json = False,
) -> None:
    """Bits in which a student tells a text while it learns it, beside what the law L(D) integrates to; and tokens to
    reach a loss."""
    from scaling.fit.code_length import code_lengths
    from scaling.report.measures import show_code_lengths

    # A sweep file stands for the runs of its own that are trained.
    if table.suffix in (".yaml", ".yml"):
        from scaling.chain.workspace import Workspace

        table = Workspace.open(table, results=results).folder
    mapping = mapping_of(map_)
    runs = runs_of(table, mapping)
    names = columns_of(mapping, runs)
    names.pop("columns", None)
    found = code_lengths(
        runs,
        law=law,
        by=[name.strip() for name in by.split(",") if name.strip()],
        vocab_size=vocab,
        target_loss=target_loss,
        where=where,
        **names,
    )
    emit(found, as_json=json_, show=show_code_lengths)
