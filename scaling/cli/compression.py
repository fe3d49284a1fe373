"""Commands that ask what fewer bits cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options import RESULTS, Json, Results, emit, say
from scaling.errors import SpecError


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel="Train, export, verify")(damage)


def damage(
    what: Annotated[str, typer.Argument(metavar="SWEEP.yaml|RUN_ID", help="All finished runs of a sweep, or one run.")],
    bits: Annotated[str, typer.Option("--bits", metavar="P,P,…", help="Bits of a weight, 2 to 8.")] = "2,3,4,5,6,8",
    results: Results = RESULTS,
    json_: Json = False,
) -> None:
    """What rounding the weights costs, at several numbers of bits, on every run of a sweep; nothing is trained."""
    from scaling.chain.damage import damage_stage
    from scaling.chain.workspace import Workspace
    from scaling.records import RunStore
    from scaling.report.compression import show_damage

    asked = _whole_numbers(bits)
    # A run has no folder of its own for tables: what is measured of one is printed alone.
    if Path(what).suffix in (".yaml", ".yml") or Path(what).is_dir():
        workspace = Workspace.open(what, results=results).prepare()
        found = damage_stage(workspace.store, workspace.runs, bits=asked, folder=workspace.folder, watch=say)
    else:
        store = RunStore(results)
        found = damage_stage(store, [store.load(what).spec], bits=asked, watch=say)
    if found.path is not None:
        say(f"wrote {found.path}")
    emit(found, as_json=json_, show=show_damage)


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= 8 for part in parts):
        raise SpecError(f"--bits: got {text!r}, allowed are whole numbers from 2 to 8 — for example 4,8")
    return tuple(dict.fromkeys(map(int, parts)))
