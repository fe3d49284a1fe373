"""Commands that make a student smaller, and say what that costs: fewer bits, fewer parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli.options.shared import (
    Json,
    Results,
    emit,
    finite,
    is_sweep_file,
    listed,
    pairs,
    refuse_without_effect,
    say,
    say_which,
    whole_count,
)
from scaling.errors import RecordError, SpecError
from scaling.files import RESULTS

if TYPE_CHECKING:
    from scaling.chain.workspace import Workspace
    from scaling.records import RunStore
    from scaling.spec import RunSpec


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (compress, damage):
        app.command(rich_help_panel="Train, export, verify")(command)


def compress(
    what: Annotated[
        str, typer.Argument(metavar="SWEEP.yaml|RUN_ID", help="The recommended student of a sweep, or that of a run.")
    ],
    scheme: Annotated[
        str,
        typer.Option(
            "--scheme",
            help="q8_0, q4_0, symmetric_channel, affine_channel, w8a8_static, w8a8_dynamic, f16 or f32.",
        ),
    ] = "q8_0",
    prune: Annotated[
        list[str] | None,
        typer.Option(
            "--prune", metavar="PART=KEPT", help="Leave out all but heads=4, neurons=192, layers=3 or weights=0.5."
        ),
    ] = None,
    heal: Annotated[
        str | None, typer.Option("--heal", metavar="TOKENS", help="Of healing after --prune; by default a tenth of D.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write what --prune left as a bundle.")] = None,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Quantize a trained student, with --prune after leaving parts out and healing it, and measure what that costs."""
    from scaling.chain.proof import compress_stage
    from scaling.chain.pruning import prune_stage
    from scaling.report.chain import show_compressed
    from scaling.report.compression import show_pruned

    if not prune:
        refuse_without_effect("a student left whole (--prune leaves parts out)", {"--heal": heal, "--out": out})
    store, run, workspace = _student(what, results)
    # Fewer bits alone leave the student as it is; parts that go have to be healed.
    if not prune:
        emit(compress_stage(store, run, scheme=scheme), as_json=json_, show=show_compressed)
        return
    found = prune_stage(
        store,
        run,
        pairs(prune, "prune", finite, example="heads=4 or weights=0.5"),
        scheme=scheme,
        healing_tokens=None if heal is None else whole_count(heal, "heal"),
        fit=_fit_of(workspace),
        folder=out,
        say=say,
    )
    emit(found, as_json=json_, show=show_pruned)


def _student(what: str, results: Path | None) -> tuple[RunStore, RunSpec, Workspace | None]:
    """The trained student that is meant: the recommended one of a sweep, or that of a run.

    Raises:
        RecordError: it is not trained, or nothing is recommended yet.
    """
    from scaling.chain.decision import load_recommendation, trained
    from scaling.chain.workspace import Workspace
    from scaling.records import RunStore

    if is_sweep(what):
        workspace = Workspace.open(what, results=results)
        recommendation = trained(workspace, load_recommendation(workspace))
        say_which(recommendation)
        return workspace.store, recommendation.run, workspace
    store = RunStore(results or RESULTS)
    record = store.load(what)
    if record.outcome.status != "done":
        raise RecordError(f"run {what} {record.outcome.status}: it has no student to compress — name another run")
    return store, record.spec, None


def _fit_of(workspace: Workspace | None):
    """The sweep's fit, which says what a student born so small would be; None for a run alone."""
    from scaling.chain.decision import load_fit

    return load_fit(workspace) if workspace is not None and workspace.fit_path.exists() else None


def is_sweep(what: str) -> bool:
    """Whether an argument names a sweep file or a sweep's folder, and not a run."""
    return is_sweep_file(Path(what)) or Path(what).is_dir()


def damage(
    what: Annotated[str, typer.Argument(metavar="SWEEP.yaml|RUN_ID", help="All finished runs of a sweep, or one run.")],
    bits: Annotated[str, typer.Option("--bits", metavar="P,P,…", help="Bits of a weight, 2 to 8.")] = "2,3,4,5,6,8",
    results: Results = None,
    json_: Json = False,
) -> None:
    """What rounding the weights costs, at several numbers of bits, on every run of a sweep; nothing is trained."""
    from scaling.chain.damage import damage_stage
    from scaling.chain.workspace import Workspace
    from scaling.records import RunStore
    from scaling.report.compression import show_damage

    asked = _whole_numbers(bits)
    # A run has no folder of its own for tables: what is measured of one is printed alone.
    if is_sweep(what):
        workspace = Workspace.open(what, results=results).prepare()
        if not any(workspace.store.has(run.run_id) for run in workspace.runs):
            raise workspace.no_finished_run("measure damage on")
        found = damage_stage(workspace.store, workspace.runs, bits=asked, folder=workspace.folder, watch=say)
    else:
        store = RunStore(results or RESULTS)
        found = damage_stage(store, [store.load(what).spec], bits=asked, watch=say)
    if found.path is not None:
        say(f"wrote {found.path}")
    emit(found, as_json=json_, show=show_damage)


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = listed(text, "bits")
    if not all(part.isdecimal() and 2 <= int(part) <= 8 for part in parts):
        raise SpecError(f"--bits: got {text!r}, allowed are whole numbers from 2 to 8 — for example 4,8")
    return tuple(dict.fromkeys(map(int, parts)))
