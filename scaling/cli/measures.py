"""Commands that measure what a loss alone does not say: the bits that a text costs a learner, what a text read before
is worth, what a student knows, and what it saves on a keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.fits import Level, Map, Table, Where, columns_of, mapping_of, runs_of
from scaling.cli.options.shared import (
    Json,
    OnlyResults,
    Results,
    emit,
    is_sweep_file,
    listed,
    refuse_without_effect,
    say,
)
from scaling.files import RESULTS


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("code-length", rich_help_panel="Fit, forecast, recommend (no jax)")(code_length)
    app.command("transfer", rich_help_panel="Fit, forecast, recommend (no jax)")(transfer)
    for command in (probe, keyboard):
        app.command(rich_help_panel="Train, export, verify")(command)


def code_length(
    table: Table,
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
    ] = "auto",
    map_: Map = None,
    where: Where = None,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Bits in which a student tells a text while it learns it, beside what the law L(D) integrates to; and tokens to
    reach a loss."""
    from scaling.fit.measures.code_length import code_lengths
    from scaling.report.measures import show_code_lengths

    mapping = mapping_of(map_)
    runs = runs_of(table, mapping, results)
    arms = listed(by, "by") if by else []
    names = columns_of(mapping, runs, where, *(f"`{name}`" for name in arms))
    # Columns of a law beside n, d and loss: a code has none of its own.
    names.pop("columns", None)
    found = code_lengths(
        runs,
        law=law,
        by=arms,
        vocab_size=vocab,
        target_loss=target_loss,
        where=where,
        **names,
    )
    emit(found, as_json=json_, show=show_code_lengths)


def transfer(
    table: Table,
    map_: Map = None,
    where: Where = None,
    level: Level = 0.9,
    results: Results = None,
    json_: Json = False,
) -> None:
    """What a text read before is worth, in tokens of the text that is learned (effective data), and the law of it:
    D_T = k D_F^alpha N^beta."""
    from scaling.fit.measures.transfer import transfer as transferred
    from scaling.report.measures import show_transfer

    mapping = mapping_of(map_)
    runs = runs_of(table, mapping, results)
    names = columns_of(mapping, runs, where)
    names.pop("columns", None)
    emit(transferred(runs, where=where, level=level, **names), as_json=json_, show=show_transfer)


def probe(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="A finished run whose source is text.")],
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", min=10, help="Of each phenomenon, at most.")] = 400,
    results: OnlyResults = None,
    json_: Json = False,
) -> None:
    """Of two sentences, does a student find the right one likelier? Agreement, pronouns, sizes, ages, negation."""
    from scaling.records import RunStore
    from scaling.report.measures import show_probe
    from scaling.train.probe import probe_run

    emit(probe_run(run_id, RunStore(results or RESULTS), n_pairs=pairs), as_json=json_, show=show_probe)


def keyboard(
    what: Annotated[
        str,
        typer.Argument(metavar="SWEEP.yaml|RUN_ID|BUNDLE", help="All finished runs of a sweep, a run, or a bundle."),
    ],
    format_: Annotated[
        str | None, typer.Option("--format", help="Export format that the weights are rounded to; by default gguf.")
    ] = None,
    words: Annotated[int, typer.Option("--words", metavar="N", min=10, help="Typed, of held-out text.")] = 500,
    ngram: Annotated[bool, typer.Option("--ngram", help="Beside an n-gram model of as many bytes.")] = False,
    results: Results = None,
    json_: Json = False,
) -> None:
    """What a student saves on a keyboard that shows three words: next words guessed, and keystrokes; of a sweep also
    how they follow from the loss."""
    from scaling.chain.keyboard import keyboard_stage, type_alone
    from scaling.predict.question import format_named
    from scaling.records import RunStore
    from scaling.report.keyboard import show_keyboard

    format = None if format_ is None else format_named(format_)
    # A sweep has a folder for its table; what is measured of one run or bundle is printed alone.
    is_bundle = (Path(what) / "manifest.json").exists()
    if not is_bundle and (is_sweep_file(Path(what)) or Path(what).is_dir()):
        from scaling.chain.workspace import Workspace

        workspace = Workspace.open(what, results=results).prepare()
        found = keyboard_stage(workspace, format=format, n_words=words, ngrams=ngram, watch=say)
        say(f"wrote {found.path}")
    else:
        if is_bundle:
            refuse_without_effect("a bundle, which has a format", {"--format": format_})
        found = type_alone(
            what, RunStore(results or RESULTS), is_bundle=is_bundle, format=format, n_words=words, ngrams=ngram
        )
    emit(found, as_json=json_, show=show_keyboard)
