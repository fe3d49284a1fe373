"""Commands that train, export and verify: the chain as a whole, and its stages one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli.options.shared import (
    Force,
    Jobs,
    Json,
    Overrides,
    Results,
    SweepFile,
    count,
    emit,
    key_values,
    refuse_without_effect,
    say,
    say_which,
    workers,
)
from scaling.errors import SpecError

if TYPE_CHECKING:
    from scaling.chain.run import ChainResult
    from scaling.chain.workspace import Workspace

Executor = Annotated[str | None, typer.Option("--executor", help="inline, local, slurm, print, or a package's own.")]

ExecutorSettings = Annotated[
    list[str] | None,
    typer.Option("--executor-set", metavar="KEY=VALUE", help="Option of the executor: nodes=2, time=4:00:00, …"),
]

Format = Annotated[
    str | None, typer.Option("--format", help="Export format instead of the one that was asked for, as gguf_q4_0.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (run, sweep, train, export, verify, worker):
        app.command(rich_help_panel="Train, export, verify")(command)


def run(
    sweep_file: SweepFile,
    jobs: Jobs = 0,
    results: Results = None,
    overrides: Overrides = None,
    force: Force = False,
    target_loss: Annotated[
        float | None, typer.Option("--target-loss", metavar="L", help="In place of the file's target.")
    ] = None,
    target_savings: Annotated[
        str | None, typer.Option("--target-savings", metavar="S", help="Share of keystrokes, as 25%, in its place.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="BYTES", help="What it may take on the phone, as 64MiB.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Phone, as mid-8gb, in place of --memory.")] = None,
    probability: Annotated[float | None, typer.Option("--probability", help="Least P(loss ≤ target).")] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="C", help="FLOPs, spent in rounds on the runs that say most; not all runs."),
    ] = None,
    json_: Json = False,
) -> None:
    """The whole chain: train, fit, recommend, train the recommended student, export, verify."""
    from scaling.chain.run import run_chain
    from scaling.chain.workspace import Workspace
    from scaling.report.chain import show_chain
    from scaling.report.progress import show_progress

    asked = {"target_loss": target_loss, "target_savings": target_savings, "probability": probability}
    asked |= {"memory": memory, "device": device}
    workspace = Workspace.open(sweep_file, results=results, overrides=[*(overrides or ()), *_in_file(asked)])
    # Without a budget every run of the sweep is trained.
    allowed = None if budget is None else count(budget, "budget")
    found = run_chain(workspace, jobs=workers(jobs), watch=show_progress, say=say, force=force, budget=allowed)
    _draw(workspace, found)
    emit(found, as_json=json_, show=show_chain)
    if not found.succeeded:
        raise typer.Exit(1)


def _in_file(asked: Mapping[str, float | str | None]) -> list[str]:
    """What is asked on the command line, as values of the sweep file: every stage reads its question there.

    A target stands in place of any other target, a phone in place of bytes, as `scaling recommend` has it.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    instead = {"target_loss", "target", "target_savings"} if given.keys() & {"target_loss", "target_savings"} else set()
    instead |= {"memory"} if "device" in given else set()
    void = dict.fromkeys(sorted(instead - given.keys()), "null")
    return [f"recommend.{name}={value}" for name, value in (void | given).items()]


def sweep(
    sweep_file: SweepFile,
    jobs: Jobs = 0,
    executor: Executor = None,
    executor_set: ExecutorSettings = None,
    results: Results = None,
    overrides: Overrides = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed trunk.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train failed runs again.")] = False,
    rerun: Annotated[list[str] | None, typer.Option("--rerun", metavar="ID", help="Train a run again.")] = None,
    json_: Json = False,
) -> None:
    """Train what is missing of a sweep, and collect the runs table."""
    from scaling.chain.training import collect_stage, train_stage
    from scaling.chain.workspace import Workspace
    from scaling.report.chain import show_sweep
    from scaling.report.progress import show_progress
    from scaling.sweep.outcomes import forget
    from scaling.sweep.worker import WorkerOptions

    workspace = Workspace.open(sweep_file, results=results, overrides=overrides or ()).prepare()
    # Runs that are to be trained again are new for the plan that follows.
    if retry_failed:
        forget(workspace.store, [one.run_id for one in workspace.runs])
    if rerun:
        forget(workspace.store, _runs_named(rerun, workspace), only_failed=False)
    outcome = train_stage(
        workspace,
        jobs=workers(jobs),
        watch=show_progress,
        executor=executor,
        settings=key_values(executor_set, "executor-set"),
        options=WorkerOptions(fail_fast=fail_fast),
    )
    collect_stage(workspace)
    emit(outcome, as_json=json_, show=show_sweep)
    raise typer.Exit(outcome.exit_code)


def worker(sweep_file: SweepFile, results: Results = None, overrides: Overrides = None) -> None:
    """One worker: claim a trunk (a training with its branches), train it, move on, as all others do at the same time.

    The tasks of one Slurm step (srun -n2 scaling worker …) are one worker: they train each trunk together.
    """
    from scaling.chain.training import train_stage
    from scaling.chain.workspace import Workspace
    from scaling.report.progress import show_progress
    from scaling.sweep import ranks

    workspace = Workspace.open(sweep_file, results=results, overrides=overrides or ()).prepare()
    rank = ranks.join()
    if rank.process > 0:
        raise typer.Exit(ranks.follow(workspace.store))
    with ranks.lead(rank) as trainer:
        outcome = train_stage(workspace, jobs=1, executor="inline", watch=show_progress, trainer=trainer)
    raise typer.Exit(outcome.exit_code)


def train(sweep_file: SweepFile, results: Results = None, json_: Json = False) -> None:
    """Train the recommended student, which export and verify then take."""
    from scaling.chain.decision import load_recommendation
    from scaling.chain.training import train_stage
    from scaling.chain.workspace import Workspace
    from scaling.report.chain import show_sweep
    from scaling.report.progress import show_progress

    workspace = Workspace.open(sweep_file, results=results)
    recommendation = load_recommendation(workspace)
    say_which(recommendation)
    outcome = train_stage(workspace, runs=[recommendation.run], jobs=1, watch=show_progress)
    emit(outcome, as_json=json_, show=show_sweep)
    raise typer.Exit(outcome.exit_code)


def export(
    sweep_file: SweepFile,
    format: Format = None,
    license: Annotated[str | None, typer.Option("--license", metavar="SPDX", help="Of the student, as MIT.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="A program that takes it: futo, litert-lm.")] = None,
    language: Annotated[list[str] | None, typer.Option("--language", help="For --target futo: as en-US.")] = None,
    author: Annotated[str | None, typer.Option("--author", help="For --target futo.")] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="For --target futo: a feature beside base_v1; may be repeated."),
    ] = None,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Write the recommended student as a bundle: file, tokenizer, manifest, model card."""
    from scaling.chain.decision import load_fit, load_recommendation, trained
    from scaling.chain.proof import export_stage, futo_stage, litert_lm_stage
    from scaling.chain.workspace import Workspace
    from scaling.report.chain import show_bundle

    if target not in (None, "futo", "litert-lm"):
        raise SpecError(f"--target: got {target!r} — allowed: futo, litert-lm")
    if target != "futo":
        asked = {"--language": language, "--author": author, "--feature": feature}
        refuse_without_effect("no --target futo", asked)
    workspace = Workspace.open(sweep_file, results=results)
    recommendation = trained(workspace, load_recommendation(workspace))
    say_which(recommendation)
    found = export_stage(workspace, recommendation, load_fit(workspace), format=format, license=license)
    if target == "futo":
        # The bundle stays as it is; the keyboard's file lies beside it.
        said = {"author": author or "", "license": license or ""}
        path = futo_stage(workspace, found, languages=language or (), features=feature or (), **said)
        say(f"for FUTO Keyboard: {path}")
    if target == "litert-lm":
        packed = litert_lm_stage(workspace, found)
        equal, tried = packed.texts_equal
        say(f"for {packed.engine}: {packed.path} ({packed.n_bytes:,} bytes), which ran it: writes as LiteRT does")
        say(f"  cuts {equal} of {tried} texts as the student does")
    emit(found, as_json=json_, show=show_bundle)


def verify(
    sweep_file: SweepFile,
    format: Format = None,
    engine: Annotated[str | None, typer.Option("--engine", help="By default the one that the format is for.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="This machine, calibrated: FILE.toml:NAME; by default x86-core.")
    ] = None,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Read the exported file back, run it in a phone engine, and write its ledger row."""
    from scaling.chain.decision import load_fit, load_recommendation, trained
    from scaling.chain.proof import export_stage, ledger_stage, verify_stage
    from scaling.chain.workspace import Workspace
    from scaling.predict.phones.devices import device as device_named
    from scaling.report.chain import show_verification

    if device is not None:
        device_named(device)  # refuses what is not known before anything is exported
    workspace = Workspace.open(sweep_file, results=results)
    recommendation, fit = trained(workspace, load_recommendation(workspace)), load_fit(workspace)
    say_which(recommendation)
    bundle = export_stage(workspace, recommendation, fit, format=format)
    if bundle.moved:
        say(bundle.moved)
    found = verify_stage(workspace, fit, recommendation, bundle, engine=engine, device=device)
    ledger_stage(workspace, fit, recommendation, found)
    emit(found, as_json=json_, show=show_verification)
    if not found.succeeded:
        raise typer.Exit(1)


def _runs_named(run_ids: list[str], workspace: Workspace) -> list[str]:
    """Ids as they were given, each of a run of the sweep."""
    known = [run.run_id for run in workspace.runs]
    for run_id in run_ids:
        if run_id not in known:
            what = f"--rerun: {workspace.config.path} has no run {run_id!r}"
            raise SpecError(f"{what} — `scaling plan` lists its {len(known)} runs")
    return run_ids


def _draw(workspace: Workspace, found: ChainResult) -> None:
    """The figure of the sweep, and the page that answers for other sizes, beside its fit."""
    from scaling.files import write_bytes
    from scaling.records import load_runs
    from scaling.report.figures.sweep import save_sweep_figure
    from scaling.report.page import page_of_sweep

    path: Path = workspace.folder / "fit.png"
    answer = found.answer
    choice, measured = answer.recommendation.choice, answer.record.outcome.loss
    save_sweep_figure(path, answer.fit, load_runs(workspace.folder), choice=choice, measured=measured)
    page = workspace.folder / "report.html"
    write_bytes(page, page_of_sweep(workspace).encode())
    say(f"figure: {path}; page: {page}")
