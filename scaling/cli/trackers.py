"""The command that hands runs to other people's trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options.shared import Json, Results, emit, refuse_without_effect, say

Kind = Annotated[str, typer.Argument(metavar="KIND", help="csv, tensorboard, wandb (offline) or mlflow (SQLite).")]
Source = Annotated[
    Path, typer.Argument(readable=False, metavar="SOURCE", help="SWEEP.yaml, a sweep's folder, or a results folder.")
]
Out = Annotated[Path, typer.Argument(readable=False, metavar="OUT", help="Folder to write; absent or empty.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel="Look, prepare, hand on")(replay)


def replay(kind: Kind, source: Source, out: Out, results: Results = None, json_: Json = False) -> None:
    """Write committed runs in the format of an experiment tracker; nothing is sent anywhere."""
    from scaling.chain.workspace import Workspace
    from scaling.records import RunStore
    from scaling.report.trackers import replay as replay_runs

    if (source / "runs").is_dir():
        refuse_without_effect(f"a results folder ({source})", {"--results": results})
        store, run_ids, name = RunStore(source), None, source.resolve().name
    else:
        workspace = Workspace.open(source, results=results)
        store, run_ids, name = workspace.store, [run.run_id for run in workspace.runs], workspace.config.name
    found = replay_runs(kind, out, store=store, run_ids=run_ids, name=name)
    did = "wrote" if found.written else "there already:"
    emit(found, as_json=json_, show=lambda _: say(f"{did} {found.n_runs} runs in {out} — look: {found.look}"))
