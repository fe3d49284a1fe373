"""The stages of `scaling run`, each reading what the stage before wrote under results/<sweep>/.

expand → plan → train → collect → fit → forecast → recommend → train the recommended student → int8 → export →
run the exported file in a phone engine → one ledger row, forecast beside measured.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.config.load import open_sweep
from scaling.config.sweep import SweepConfig
from scaling.errors import RecordError
from scaling.files import write_bytes, write_json
from scaling.formats.plain import plain
from scaling.records import RunRecord, RunStore, runs_table
from scaling.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

    from scaling.compress.degradation import Degradation
    from scaling.compress.int8 import Scheme
    from scaling.export.bundle import Bundle
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit
    from scaling.predict.question import Question
    from scaling.predict.recommend import Recommendation
    from scaling.sweep.run import SweepOutcome
    from scaling.sweep.plan import Plan
    from scaling.sweep.progress import Listener


Watch = Callable[["Plan"], AbstractContextManager["Listener"]]
"""Opens something that shows the events of a plan's training; `scaling.sweep.display.show_progress` is one."""

RECOMMENDATION = "recommendation.json"


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
        file: str | os.PathLike[str],
        *,
        results: str | os.PathLike[str] = "results",
        overrides: Sequence[str] = (),
    ) -> Workspace:
        """Read a sweep file, or the one that an earlier stage left in a sweep's results folder."""
        path = Path(file)
        path = path / "sweep.yaml" if path.is_dir() else path
        sweep = open_sweep(path, overrides)
        return cls(config=sweep.config, overrides=tuple(overrides), runs=sweep.runs, store=RunStore(results))

    @property
    def folder(self) -> Path:
        """Where the stages of the sweep write."""
        return self.store.root / self.config.name

    @property
    def fit_path(self) -> Path:
        """The fit of the sweep's runs."""
        return self.folder / "fit.json"

    @property
    def recommendation_path(self) -> Path:
        """What was recommended from that fit."""
        return self.folder / RECOMMENDATION

    def command(self, verb: str) -> str:
        """A command line that works on this sweep as it was opened, to be typed as it is."""
        words = [verb, shlex.quote(str(self.config.path))]
        words += [f"--set {shlex.quote(text)}" for text in self.overrides]
        words += [f"--results {shlex.quote(str(self.store.root))}"] if str(self.store.root) != "results" else []
        return " ".join(words)

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
    ledger: Mapping[str, object]
    stages: tuple[Stage, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        from scaling.fit.saved import to_plain

        return {name: to_plain(self.fit) if name == "fit" else plain(value) for name, value in vars(self).items()}


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
        table = collect_stage(workspace)
    with clock.stage("fit") as said:
        fit = fit_stage(workspace, table)
        said.append(repr(fit.law))
    with clock.stage("recommend") as said:
        recommendation = recommend_stage(workspace, fit, force=force)
        width, forecast = recommendation.run.model.width, recommendation.prediction.value
        said.append(f"width {width}, forecast {forecast:.4f} nats/token")
        if warning := edge_warning(recommendation.run, workspace.runs):
            say(f"warning: {warning}")
    with clock.stage("train recommended") as said:
        said.append(_trained(train_stage(workspace, runs=[recommendation.run], jobs=1, watch=watch)))
        record = workspace.store.load(recommendation.run.run_id)
    with clock.stage("export") as said:
        bundle = export_stage(workspace, recommendation.run)
        said.append(f"{bundle.model_path} ({bundle.model_path.stat().st_size:,} bytes)")
    with clock.stage("verify") as said:
        verification = verify_stage(workspace, fit, recommendation, bundle)
        row = ledger_stage(workspace, fit, recommendation, verification)
        said.append("all checks passed" if verification.passed else "SOME CHECKS FAILED, see the table")
    return ChainResult(
        sweep=workspace.config.name,
        counts=dict(outcome.counts),
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


def fit_stage(workspace: Workspace, table: pd.DataFrame, *, law: str | None = None) -> Fit:
    """The law of a sweep's runs, written to fit.json.

    Args:
        workspace: The sweep.
        table: Its runs, as `collect_stage` gives them.
        law: Form to fit instead of the one that the file names.

    Raises:
        FitError: the runs do not determine a law; nothing is written.
        RecordError: no run of the sweep is there yet.
    """
    from scaling.fit.fitter import fit
    from scaling.fit.saved import save

    done = table[table["status"] == "done"] if len(table) else table
    if not len(done):
        raise RecordError(
            f"{workspace.folder}: no finished run to fit — train first: {workspace.command('scaling sweep')}"
        )
    found = fit(table, **workspace.config.fit.arguments() | ({"law": law} if law else {}))
    save(found, workspace.fit_path)
    return found


def load_fit(workspace: Workspace) -> Fit:
    """The fit that an earlier stage wrote.

    Raises:
        RecordError: there is none, or it cannot be read.
    """
    from scaling.fit.saved import load

    if not workspace.fit_path.exists():
        raise RecordError(f"{workspace.fit_path}: no fit yet — make it: {workspace.command('scaling fit')}")
    return load(workspace.fit_path)


def recommend_stage(
    workspace: Workspace,
    fit: Fit,
    question: Question | None = None,
    *,
    fit_path: Path | None = None,
    force: bool = False,
) -> Recommendation:
    """The smallest student that answers a question, written to recommendation.json beside the fit.

    Args:
        workspace: The sweep.
        fit: Of its runs.
        question: What is asked; by default what the sweep file asks.
        fit_path: Where the fit is stored; by default in the sweep's folder.
        force: Accept forecasts far beyond the data.

    Raises:
        InfeasibleError: nothing meets the question; nothing is written.
        ExtrapolationError: only what lies too far beyond the data does.
    """
    from scaling.predict.question import Question
    from scaling.predict.recommend import recommend_of_sweep

    found = recommend_of_sweep(
        question or Question.of(workspace.config),
        fit,
        workspace.config,
        workspace.runs,
        workspace.store,
        fit_id=_fit_id(fit_path or workspace.fit_path),
        force=force,
    )
    write_json((fit_path or workspace.fit_path).with_name(RECOMMENDATION), plain(found))
    return found


def load_recommendation(workspace: Workspace) -> Recommendation:
    """The recommendation that an earlier stage wrote, if it is of the fit that lies beside it.

    Raises:
        RecordError: there is none, or it is of another fit; nothing is changed.
    """
    from scaling.predict.recommend import Recommendation

    again = f"scaling recommend --fit {shlex.quote(str(workspace.fit_path))}"
    if not workspace.fit_path.exists():
        raise RecordError(f"{workspace.fit_path}: no fit yet — make it: {workspace.command('scaling fit')}")
    if not workspace.recommendation_path.exists():
        raise RecordError(f"{workspace.recommendation_path}: nothing is recommended yet — ask: {again}")
    found, fit_id = Recommendation.from_json(workspace.recommendation_path), _fit_id(workspace.fit_path)
    if found.fit_id is None:
        return replace(found, fit_id=fit_id)
    if found.fit_id != fit_id:
        raise RecordError(
            f"{workspace.recommendation_path}: recommends from fit {found.fit_id}, but {workspace.fit_path} is fit "
            f"{fit_id}; nothing was changed — ask anew: {again}"
        )
    return found


def _fit_id(fit_path: Path) -> str:
    from scaling.fit.saved import fit_id_of

    return fit_id_of(fit_path.read_text("utf-8"))


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


def verify_stage(workspace: Workspace, fit: Fit, recommendation: Recommendation, bundle: Bundle) -> Verification:
    """The exported file, read back and run by an engine, beside its forecast."""
    from scaling.export.verify import verify

    return verify(bundle, workspace.store, recommendation, loss_name=fit.columns["loss"])


def ledger_stage(
    workspace: Workspace, fit: Fit, recommendation: Recommendation, verification: Verification
) -> Mapping[str, object]:
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
