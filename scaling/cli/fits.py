"""Commands of the paper half: fit, backtest, recommend, import. None of them loads jax."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli.options import (
    RESULTS,
    Force,
    Json,
    Overrides,
    Results,
    byte_count,
    count,
    emit,
    refuse_without_effect,
    say,
)

if TYPE_CHECKING:
    import pandas as pd

    from scaling.predict.recommend import Recommendation

Table = Annotated[
    Path,
    typer.Argument(readable=False, metavar="TABLE", help="A results folder, that of a sweep in it, .parquet or .csv."),
]
Map = Annotated[str, typer.Option("--map", metavar="n=COL,d=COL,loss=COL", help="Columns of a foreign table.")]
Where = Annotated[str | None, typer.Option("--where", metavar="EXPR", help="Rows to use, as 'flops < 1e21'.")]
Law = Annotated[str | None, typer.Option("--law", help="Law to fit; by default the stack of forms.")]
Level = Annotated[float, typer.Option("--level", help="Level of intervals.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (fit, backtest, recommend):
        app.command(rich_help_panel="Fit, forecast, recommend (no jax)")(command)
    app.command("import", rich_help_panel="Fit, forecast, recommend (no jax)")(import_)


def fit(
    table: Annotated[
        Path,
        typer.Argument(
            readable=False, metavar="TABLE", help="SWEEP.yaml, a results folder, that of a sweep, .parquet or .csv."
        ),
    ],
    map_: Map = "",
    where: Where = None,
    law: Law = None,
    held: Annotated[
        list[str] | None, typer.Option("--held", metavar="E=2.0", help="A coefficient that is known and not fitted.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, metavar="FIT.json", help="Where to write the fit.")
    ] = None,
    results: Results = RESULTS,
    json_: Json = False,
) -> None:
    """Fit a scaling law to the runs of a sweep, or to any table."""
    from scaling.fit.fitter import fit as fit_table
    from scaling.fit.saved import save
    from scaling.report.tables import show_fit

    if table.suffix in (".yaml", ".yml"):
        from scaling.chain.decision import fit_stage
        from scaling.chain.training import collect_stage
        from scaling.chain.workspace import Workspace

        # Columns and rows of a sweep are those that its own file names under fit.
        refuse_without_effect(f"a sweep file ({table})", {"--map": map_ or None, "--where": where})
        workspace = Workspace.open(table, results=results).prepare()
        found = fit_stage(workspace, collect_stage(workspace), law=law, held=numbers_of(held), say=say)
        say(f"wrote {workspace.fit_path}")
    else:
        refuse_without_effect(f"a table ({table})", {"--results": None if results == RESULTS else results})
        mapping = mapping_of(map_)
        runs = runs_of(table, mapping)
        found = fit_table(runs, law=law or "stack", where=where, held=numbers_of(held), **columns_of(mapping, runs))
    if out is not None:
        save(found, out)
        say(f"wrote {out}")
    emit(found, as_json=json_, show=show_fit)


def backtest(
    table: Table,
    train: Annotated[str | None, typer.Option("--train", metavar="EXPR", help="Rows to fit.")] = None,
    test: Annotated[str | None, typer.Option("--test", metavar="EXPR", help="Rows to forecast.")] = None,
    map_: Map = "",
    law: Law = None,
    level: Level = 0.9,
    decision: Annotated[
        float | None,
        typer.Option(
            "--decision", metavar="P", help="Recommend among runs of the largest size instead, and score that."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Fit some rows of a table, forecast others, and score the forecast."""
    from scaling.fit.backtest import backtest as run_backtest
    from scaling.report.tables import show_backtest, show_hindsight

    mapping = mapping_of(map_)
    runs = runs_of(table, mapping)
    if decision is not None:
        from scaling.predict.hindsight import hindsight

        # Which rows are left out follows from the question: all runs of the largest size.
        refuse_without_effect("--decision", {"--train": train, "--test": test})
        scored = hindsight(runs, probability=decision, law=law or "stack", **columns_of(mapping, runs))
        emit(scored, as_json=json_, show=show_hindsight)
        return
    found = run_backtest(runs, train=train, test=test, law=law or "stack", level=level, **columns_of(mapping, runs))
    emit(found.to_plain() if json_ else found, as_json=json_, show=show_backtest)


def recommend(
    target_loss: Annotated[float | None, typer.Option("--target-loss", metavar="L", help="nats/token.")] = None,
    fit_file: Annotated[Path | None, typer.Option("--fit", readable=False, metavar="FIT.json", help="A fit.")] = None,
    law: Annotated[str | None, typer.Option("--law", help="A published law, in place of a fit.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="BYTES", help="Budget, as 64MiB.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Phone, as mid-8gb, in place of --memory.")] = None,
    app_share: Annotated[
        float | None, typer.Option("--app-share", help="Of the phone's memory; by default .1.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--min-tokens-per-second", metavar="R", help="Least tokens/s on the device.")
    ] = None,
    sweep: Annotated[
        Path | None,
        typer.Option("--sweep", readable=False, help="Sweep that the fit came from; by default the one beside it."),
    ] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="D", help="Tokens of the training.")] = None,
    max_flops: Annotated[
        str | None, typer.Option("--max-training-flops", metavar="C", help="Most FLOPs of the training.")
    ] = None,
    probability: Annotated[float | None, typer.Option("--probability", help="Least P(loss ≤ target).")] = None,
    context: Annotated[int | None, typer.Option("--context", metavar="T", help="Tokens of the cache.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Of the exported file: q8_0 (default), q4_0, …, or its name.")
    ] = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="Label of a teacher of the sweep.")] = None,
    vocab: Annotated[str | None, typer.Option("--vocab", help="With --law: vocabulary; by default 32k.")] = None,
    results: Results = RESULTS,
    overrides: Overrides = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """The smallest student that meets a target loss on a phone; export and verify read the answer."""
    from scaling.errors import SpecError
    from scaling.predict.question import Question, format_named
    from scaling.report.tables import show_recommendation

    # Numbers as people write them; what is None is left to the sweep file.
    asked: dict[str, Any] = {
        "target_loss": target_loss,
        "memory_bytes": None if memory is None else byte_count(memory, "memory"),
        "device": device,
        "app_share": app_share,
        "tokens_per_s": speed,
        "tokens": None if tokens is None else _whole_count(tokens, "tokens"),
        "max_training_flops": None if max_flops is None else count(max_flops, "max-training-flops"),
        "probability": probability,
        "context": context,
        "format": None if format_ is None else format_named(format_),
    }
    if fit_file is None and law is not None:
        from scaling.predict.published import VOCABULARY, recommend_published

        of_sweep = {"--sweep": sweep, "--teacher": teacher, "--probability": probability, "--set": overrides}
        refuse_without_effect("--law, which describes real text and has no interval", of_sweep)
        if target_loss is None:
            raise SpecError("--target-loss: missing — which loss will do, in nats/token of that law? For example 2.6")
        question = Question(**{name: value for name, value in asked.items() if value is not None})
        size = VOCABULARY if vocab is None else _whole_count(vocab, "vocab")
        found = recommend_published(question, law, vocab_size=size, force=force)
    elif fit_file is not None and law is None:
        refuse_without_effect("--fit, whose sweep has a tokenizer", {"--vocab": vocab})
        found = _of_fit(fit_file, sweep, asked, teacher, results=results, overrides=overrides, force=force)
    else:
        raise SpecError("recommend needs one of --fit FIT.json and --law NAME — got both or neither; see --help")
    emit(found, as_json=json_, show=show_recommendation)


def _of_fit(
    fit_file: Path,
    sweep: Path | None,
    asked: dict[str, Any],
    teacher: str | None,
    *,
    results: Path,
    overrides: list[str] | None,
    force: bool,
) -> Recommendation:
    """The recommendation from a fit and the sweep beside it, which says what it leaves open."""
    from scaling.chain.decision import recommend_stage
    from scaling.chain.target import ask
    from scaling.chain.workspace import Workspace
    from scaling.errors import SpecError
    from scaling.fit.saved import load
    from scaling.predict.question import teacher_named

    fit, source = load(fit_file), sweep or fit_file.parent / "sweep.yaml"
    if sweep is None and not source.exists():
        raise SpecError(
            f"--sweep: {fit_file} has no sweep.yaml beside it, whose models could be offered — "
            "name the sweep file that trains them"
        )
    workspace = Workspace.open(source, results=results, overrides=overrides or ())
    named = None if teacher is None else teacher_named(teacher, workspace.runs)
    # What is not asked here is asked by the sweep file; the answer keeps the whole question.
    question = ask(workspace, teacher=named, **asked)
    return recommend_stage(workspace, fit, question, fit_path=fit_file, force=force)


def _whole_count(text: str, name: str) -> int:
    """``2M`` as a whole number: what cannot be infinite."""
    import math

    from scaling.errors import SpecError

    value = count(text, name)
    if math.isinf(value):
        raise SpecError(f"--{name}: got inf, allowed is a finite number — for example 2M")
    return round(value)


def import_(
    table: Annotated[Path, typer.Argument(readable=False, metavar="FILE.csv", help="Other people's runs.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Folder under the results folder.")],
    map_: Annotated[str, typer.Option("--map", metavar="n_params=COL,n_tokens=COL,…", help="Columns.")] = "",
    where: Where = None,
    results: Results = RESULTS,
    json_: Json = False,
) -> None:
    """Make other people's runs ready to be fitted: RESULTS/NAME/runs.parquet."""
    from scaling.records import check_name
    from scaling.sweep.collect import import_runs

    found = import_runs(table, results / check_name(name), map=mapping_of(map_), where=where)
    written = {"runs": len(found), "folder": str(results / name)}
    emit(written, as_json=json_, show=lambda _: say(f"imported {len(found)} runs into {results / name}"))


def runs_of(path: Path, mapping: dict[str, str]) -> pd.DataFrame:
    """Runs of a foreign table or of our own results, with the mapped columns added."""
    from scaling.records import load_runs
    from scaling.tables.read import map_columns

    return map_columns(load_runs(path), mapping)


def columns_of(mapping: dict[str, str], runs: pd.DataFrame) -> dict[str, Any]:
    """Where the fitter finds n, d, loss and whatever else a law is a function of.

    A column that is mapped as it is keeps its name, so that the fit says which count of parameters it used.
    """
    from scaling.tables.units import SIZE_COLUMNS

    named: dict[str, Any] = {k: mapping[k] if mapping[k] in runs else k for k in ("n", "d", "loss") if k in mapping}
    # Columns under the names of our own tables are found there; any other is one that the law reads.
    others = {name: name for name in mapping if name not in {"n", "d", "loss", "n_tokens", *SIZE_COLUMNS}}
    return named | {"columns": others} if others else named


def numbers_of(pairs: list[str] | None) -> dict[str, float] | None:
    """``E=2.0`` as a mapping to numbers; None where nothing was given."""
    from scaling.errors import SpecError

    found = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError as error:
            raise SpecError(f"--held: got {pair!r}, allowed is COEFFICIENT=NUMBER — for example E=2.0") from error
    return found or None


def mapping_of(text: str) -> dict[str, str]:
    """``n=COL,d=COL`` as a mapping."""
    from scaling.errors import SpecError

    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [key for key, equals, column in pairs if not (key.strip() and equals and column.strip())]
    if wrong:
        raise SpecError(f"--map: got {text!r}, expected pairs such as n=params,d=tokens,loss=val_loss")
    return {key.strip(): column.strip() for key, _, column in pairs}
