"""Commands that look and change nothing: plan, status, ledger, doctor, schema; and init, which writes a first sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options.shared import (
    Jobs,
    Json,
    OnlyResults,
    Overrides,
    Results,
    SweepFile,
    emit,
    refuse_without_effect,
    workers,
)
from scaling.files import RESULTS


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (plan, status, ledger, doctor, schema, init):
        app.command(rich_help_panel="Look, prepare, hand on")(command)


def plan(
    sweep_file: SweepFile,
    jobs: Jobs = 0,
    results: Results = None,
    overrides: Overrides = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Time 3 steps of each shape first.")] = False,
    design: Annotated[bool, typer.Option("--design", help="Expected error of the forecast, before training.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Another machine trains it: this one's memory is no bound.")
    ] = False,
    json_: Json = False,
) -> None:
    """What a sweep would train, what that costs, and what is there already."""
    from scaling.chain.training import plan_stage
    from scaling.chain.workspace import Workspace
    from scaling.report.plan import show_plan

    workspace = Workspace.open(sweep_file, results=results, overrides=overrides or ())
    found = plan_stage(workspace, calibrate=calibrate, design=design, elsewhere=elsewhere)
    emit(found.to_json(), as_json=json_, show=lambda _: show_plan(found, jobs=workers(jobs)))


def status(
    sweep_file: SweepFile,
    results: Results = None,
    overrides: Overrides = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the sweep until it is done.")] = False,
    json_: Json = False,
) -> None:
    """How far a sweep is: done, running, failed and pending runs, throughput, time left."""
    from scaling.chain.workspace import Workspace
    from scaling.report.status import show_status
    from scaling.sweep.status import status as look
    from scaling.sweep.trunks import group

    workspace = Workspace.open(sweep_file, results=results, overrides=overrides or ())
    show_status(lambda: look(group(workspace.runs), workspace.store), watch=watch, as_json=json_)


def ledger(
    results: OnlyResults = None,
    file: Annotated[
        Path | None, typer.Option("--file", readable=False, metavar="CSV", help="A ledger instead of the results'.")
    ] = None,
    json_: Json = False,
) -> None:
    """Every forecast beside its measurement, with hit rates and mean errors."""
    from scaling.export.ledger.rows import read_ledger
    from scaling.export.ledger.score import score
    from scaling.report.ledger import show_ledger

    if file is not None:
        refuse_without_effect("a ledger by its file", {"--results": results})
    rows = read_ledger(file or (results or RESULTS) / "ledger.csv")
    found = score(rows)
    emit({"rows": rows, "score": found}, as_json=json_, show=lambda _: show_ledger(rows, found))


def doctor(results: OnlyResults = None, json_: Json = False) -> None:
    """What this machine has: versions, devices, extras, free memory and disk."""
    from scaling.report.doctor import examine, show_health

    found = examine(results or RESULTS)
    emit(found, as_json=json_, show=show_health)
    if not found.healthy:
        raise typer.Exit(1)


def schema() -> None:
    """The JSON Schema of sweep files, for completion in an editor."""
    import json

    from scaling.config.template import json_schema

    print(json.dumps(json_schema(), indent=1))


def init(
    path: Annotated[Path, typer.Argument(readable=False, metavar="SWEEP.yaml", help="File to write; must not exist.")],
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="GLOB", help="Your own files, quoted: 'texts/*.txt', *.jsonl, *.parquet."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep-non-utf8", help="Keep their bytes that are no UTF-8 as they are; else an error.")
    ] = False,
) -> None:
    """Write a first sweep, with comments."""
    from scaling.config.template import write_template

    if text is None:
        refuse_without_effect("a sweep that reads no files of yours (--text)", {"--keep-non-utf8": keep or None})
    write_template(path, text=text, non_utf8="keep" if keep else "refuse")
    typer.echo(f"wrote {path} — look at it, then: scaling plan {path}", err=True)
