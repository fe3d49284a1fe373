"""Commands that measure what a loss alone does not say: the bits that a text costs a learner, and what it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.fits import Map, Where, columns_of, mapping_of, runs_of
from scaling.cli.options import RESULTS, Json, Results, emit


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("code-length", rich_help_panel="Fit, forecast, recommend (no jax)")(code_length)
    app.command(rich_help_panel="Train, export, verify")(probe)


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


def probe(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="A finished run whose source is text.")],
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", min=10, help="Of each phenomenon, at most.")] = 400,
    results: Results = RESULTS,
    json_: Json = False,
) -> None:
    """Of two sentences, does a student find the right one likelier? Agreement, pronouns, sizes, ages, negation."""
    from scaling.records import RunStore
    from scaling.report.measures import show_probe
    from scaling.train.probe import probe_run

    emit(probe_run(run_id, RunStore(results), n_pairs=pairs), as_json=json_, show=show_probe)
