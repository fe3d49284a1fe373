"""The stages of `scaling run`, each reading what the stage before wrote under results/<sweep>/.

expand → plan → train → collect → fit → forecast → recommend → train the recommended student → int8 → export →
run the exported file in a phone engine → one ledger row, forecast beside measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.config.sweep import SweepConfig
from scaling.errors import RecordError
from scaling.files import write_bytes, write_json
from scaling.records import RunRecord, RunStore, runs_table
from scaling.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

    from scaling.compress.degradation import Degradation
    from scaling.compress.int8 import Scheme
    from scaling.export.bundle import Bundle
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit
    from scaling.predict.recommend import Recommendation
    from scaling.sweep.plan import Plan
    from scaling.sweep.progress import Listener
    from scaling.sweep.run import SweepOutcome


Watch = Callable[["Plan"], AbstractContextManager["Listener"]]
"""Opens something that shows the events of a plan's training; `scaling.sweep.display.show_progress` is one."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A sweep, and the folders that its stages read and write.

    Attributes:
        config: The sweep file.
        overrides: ``--set`` of the command line.
        runs: What it expands to.
        store: The results folder.
    """

    config: SweepConfig
    overrides: tuple[str, ...]
    runs: tuple[RunSpec, ...]
    store: RunStore

    @classmethod
    def open(
        cls,
        sweep: str | os.PathLike[str],
        *,
        results: str | os.PathLike[str] = "results",
        overrides: Sequence[str] = (),
    ) -> Workspace:
        """Read a sweep file, or the one that an earlier stage left in a sweep's results folder."""
        path = Path(sweep)
        path = path / "sweep.yaml" if path.is_dir() else path
        config = load_sweep(path, overrides)
        return cls(config=config, overrides=tuple(overrides), runs=tuple(expand(config)), store=RunStore(results))

    @property
    def folder(self) -> Path:
        return self.store.root / self.config.name

    def prepare(self) -> Workspace:
        """Create the sweep's folder, with its resolved file (includes and ``--set`` applied) for later commands."""
        import yaml

        self.store.prepare()
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config.document.values, sort_keys=False, allow_unicode=True)
        write_bytes(self.folder / "sweep.yaml", text.encode())
        return self


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the chain, done."""

    name: str
    seconds: float
    said: str


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """What `scaling run` found.

    Attributes:
        sweep: Name of the sweep.
        counts: Runs by state.
        fit: The law.
        recommendation: The chosen configuration.
        record: The recommended student's own run.
        bundle: The exported file and its manifest.
        verification: Forecast beside measured.
        ledger: The row that was written.
        stages: What was done, and how long it took.
    """

    sweep: str
    counts: dict[str, int]
    fit: Fit
    recommendation: Recommendation
    record: RunRecord
    bundle: Bundle
    verification: Verification
    ledger: dict[str, object]
    stages: tuple[Stage, ...]


@dataclass
class _Clock:
    say: Callable[[str], None]
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time a stage; what is appended to the list is said at its end."""
        said: list[str] = []
        began = time.monotonic()
        yield said
        done = Stage(name=name, seconds=time.monotonic() - began, said="; ".join(said))
        self.stages.append(done)
        self.say(f"{name}: {done.said}  ({done.seconds:.1f} s)")


def run_chain(
    workspace: Workspace,
    *,
    jobs: int = 1,
    watch: Watch | None = None,
    say: Callable[[str], None] = lambda line: None,
    force: bool = False,
) -> ChainResult:
    """All stages of a sweep; whatever exists already is not made again.

    Args:
        workspace: The sweep.
        jobs: Worker processes.
        watch: Shows the events of trainings.
        say: Called with one line a stage.
        force: Accept a recommendation far beyond the data.

    Raises:
        ScalingError: of the stage that could not do its work.
        Preempted: if a stop was asked for; the same command goes on.
    """
    from scaling.sweep.warnings import edge_warning

    workspace.prepare()
    clock = _Clock(say)
    with clock.stage("train") as said:
        outcome = train_stage(workspace, jobs=jobs, watch=watch)
        said.append(_trained(outcome))
        collect_stage(workspace)
    with clock.stage("fit") as said:
        fit = fit_stage(workspace)
        said.append(repr(fit.law))
    with clock.stage("recommend") as said:
        recommendation = recommend_stage(workspace, fit, force=force)
        said.append(f"width {recommendation.run.model.width}, forecast {recommendation.choice.loss:.4f} nats/token")
        if warning := edge_warning(recommendation.run, workspace.runs):
            say(f"warning: {warning}")
    with clock.stage("train recommended") as said:
        outcome = train_stage(workspace, runs=[recommendation.run], jobs=1, watch=watch)
        said.append(_trained(outcome))
        record = workspace.store.load(recommendation.run.run_id)
    with clock.stage("export") as said:
        bundle = export_stage(workspace, recommendation.run)
        said.append(f"{bundle.model_path} ({bundle.model_path.stat().st_size:,} bytes)")
    with clock.stage("verify") as said:
        verification = verify_stage(workspace, recommendation, bundle)
        row = ledger_stage(workspace, fit, recommendation, verification)
        said.append("all checks passed" if verification.passed else "SOME CHECKS FAILED, see the table")
    counts = plan_stage(workspace).counts()
    return ChainResult(
        sweep=workspace.config.name,
        counts=counts,
        fit=fit,
        recommendation=recommendation,
        record=record,
        bundle=bundle,
        verification=verification,
        ledger=row,
        stages=tuple(clock.stages),
    )


def plan_stage(workspace: Workspace, *, calibrate: bool = False, design: bool = False) -> Plan:
    """What there is to train, and what it costs.

    Args:
        workspace: The sweep.
        calibrate: Time three steps of each shape first.
        design: Work out the forecast error that this design supports, which loads pandas.
    """
    from scaling.sweep.plan import plan

    pace = None
    if calibrate:
        from scaling.sweep import pace as paces
        from scaling.train.step import time_steps

        pace = paces.calibrate(workspace.runs, workspace.store.prepare(), time_steps)
    return plan(workspace.runs, workspace.store, pace=pace, expectation=design)


def train_stage(
    workspace: Workspace,
    *,
    runs: Sequence[RunSpec] | None = None,
    jobs: int = 1,
    watch: Watch | None = None,
    **options,
) -> SweepOutcome:
    """Train what is missing of the sweep, or of the runs named.

    Raises:
        Preempted: if a stop was asked for.
        RecordError: if a run that later stages need failed.
    """
    from scaling.sweep.plan import plan
    from scaling.sweep.run import run

    planned = plan(workspace.runs if runs is None else runs, workspace.store)
    with watch(planned) if watch and planned.pending else nullcontext() as progress:
        outcome = run(
            planned,
            workspace.store,
            jobs=jobs,
            progress=progress,
            sweep_path=workspace.config.path,
            overrides=workspace.overrides,
            **options,
        )
    if outcome.stopped:
        raise outcome.interruption()
    if runs is not None and outcome.counts["done"] < len(runs):
        failed = [failure.sentence for failure in outcome.failures] or ["its loss diverged"]
        raise RecordError(f"the recommended student has no result — {failed[0]}; lower its learning rate and run again")
    return outcome


def collect_stage(workspace: Workspace) -> pd.DataFrame:
    """The runs table of the sweep, written to runs.parquet, and its training logs, to metrics.parquet."""
    from scaling.records import write_parquet
    from scaling.sweep.collect import metrics_table

    run_ids = [run.run_id for run in workspace.runs]
    table = runs_table(workspace.store.records(run_ids))
    write_parquet(workspace.folder / "runs.parquet", table)
    write_parquet(workspace.folder / "metrics.parquet", metrics_table(workspace.store, run_ids))
    return table


def fit_stage(workspace: Workspace, *, law: str | None = None) -> Fit:
    """The law of the sweep's runs, written to fit.json.

    Raises:
        FitError: the runs do not determine a law; nothing is written.
        RecordError: no run of the sweep is there yet.
    """
    from scaling.fit.fitter import fit
    from scaling.fit.saved import save

    table = collect_stage(workspace.prepare())
    done = table[table["status"] == "done"] if len(table) else table
    if not len(done):
        raise RecordError(f"{workspace.folder}: no finished run to fit — train first with `scaling sweep`")
    found = fit(table, **workspace.config.fit.arguments() | ({"law": law} if law else {}))
    save(found, workspace.folder / "fit.json")
    return found


def load_fit(workspace: Workspace) -> Fit:
    """The fit that an earlier stage wrote."""
    from scaling.fit.saved import load

    return load(workspace.folder / "fit.json")


def recommend_stage(workspace: Workspace, fit: Fit, *, force: bool = False) -> Recommendation:
    """The smallest student that meets the sweep's question, written to recommendation.json."""
    from scaling.formats.plain import plain
    from scaling.predict.choose import choose

    found = choose(workspace.config, fit, workspace.store, force=force)
    write_json(workspace.folder / "recommendation.json", plain(found))
    return found


def load_recommendation(workspace: Workspace) -> Recommendation:
    """The recommendation of the fit that an earlier stage wrote; computed again, which costs milliseconds."""
    return recommend_stage(workspace, load_fit(workspace), force=True)


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What int8 does to a student.

    Attributes:
        scheme: Layout.
        float_bytes: Of the tensors as float32.
        int8_bytes: Of the tensors as int8 with scales.
        cost: Loss before and after on the real held-out set.
    """

    scheme: str
    float_bytes: int
    int8_bytes: int
    cost: Degradation


def compress_stage(workspace: Workspace, run: RunSpec, *, scheme: Scheme = "affine_channel") -> Compressed:
    """Quantize a trained student and measure the cost; the export uses q8_0, which the engine reads."""
    from scaling.compress.degradation import degradation
    from scaling.compress.int8 import quantize
    from scaling.data.evaluation import evaluation_sets
    from scaling.export.bundle import load_tensors

    tensors = load_tensors(workspace.store, run)
    student = quantize(tensors, scheme)
    real = evaluation_sets(run, workspace.store).real
    return Compressed(
        scheme=scheme,
        float_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        int8_bytes=student.n_bytes,
        cost=degradation(run.model, tensors, student.dequantize(), real),
    )


def export_stage(workspace: Workspace, run: RunSpec) -> Bundle:
    """The recommended student as an int8 GGUF file with its manifest, in bundle/."""
    from scaling.export.bundle import export

    return export(workspace.store, run, workspace.folder / "bundle")


def verify_stage(workspace: Workspace, recommendation: Recommendation, bundle: Bundle) -> Verification:
    """The exported file, read back and run by an engine, beside its forecast."""
    from scaling.export.verify import verify

    asked = workspace.config.recommend
    return verify(
        bundle,
        workspace.store,
        recommendation,
        loss_name=workspace.config.fit.loss,
        context=asked.context if asked else None,
    )


def ledger_stage(
    workspace: Workspace, fit: Fit, recommendation: Recommendation, verification: Verification
) -> dict[str, object]:
    """One row of results/ledger.csv."""
    from scaling.export.ledger import append

    return append(workspace.store.root / "ledger.csv", workspace.config.name, fit, recommendation, verification)


def _trained(outcome: SweepOutcome) -> str:
    total = sum(outcome.counts.values())
    if not outcome.trained:
        return f"nothing to train, all {total} runs are there"
    parts = [f"trained {len(outcome.trained)} of {total} runs"]
    parts += [f"{outcome.counts[state]} {state}" for state in ("diverged", "failed", "new") if outcome.counts[state]]
    return ", ".join(parts)
