"""All stages, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scaling.chain.decision import fit_stage, recommend_stage
from scaling.chain.proof import export_stage, ledger_stage, verify_stage
from scaling.chain.training import Watch, collect_stage, train_stage
from scaling.chain.workspace import Workspace
from scaling.records import RunRecord

if TYPE_CHECKING:
    from scaling.export.bundle import Bundle
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit
    from scaling.predict.recommend import Recommendation
    from scaling.sweep.run import SweepOutcome


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
    # Training is shared by all who ask for it; what follows is done by one after the other.
    with workspace.held(waits=lambda: say("another `scaling run` works on this sweep; this one goes on when it ends")):
        with clock.stage("fit") as said:
            fit = fit_stage(workspace, table)
            said.append(repr(fit.law))
        with clock.stage("recommend") as said:
            recommendation = recommend_stage(workspace, fit, force=force)
            said.append(_chosen(recommendation))
            if warning := edge_warning(recommendation.run, workspace.runs):
                say(f"warning: {warning}")
        with clock.stage("train recommended") as said:
            said.append(_trained(train_stage(workspace, runs=[recommendation.run], jobs=1, watch=watch)))
            record = workspace.store.load(recommendation.run.run_id)
        with clock.stage("export") as said:
            bundle = export_stage(workspace, recommendation)
            said.append(f"{bundle.model_path} ({bundle.model_path.stat().st_size:,} bytes)")
        with clock.stage("verify") as said:
            verification = verify_stage(workspace, fit, recommendation, bundle)
            row = ledger_stage(workspace, fit, recommendation, verification)
            said.append(_verdict(verification))
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


def _chosen(found: Recommendation) -> str:
    choice = found.choice
    basis = "forecast" if choice.measured is None else "measured"
    return f"width {choice.run.model.width}, {basis} {choice.expected.value:.4f} nats/token, P {choice.probability:.2f}"


def _verdict(found: Verification) -> str:
    target = {True: "target met", False: "TARGET MISSED", None: "target not measured"}[found.target_met]
    return f"{target}, {'all promises hold' if found.passed else 'A PROMISE IS BROKEN, see the table'}"


def _trained(outcome: SweepOutcome) -> str:
    total = sum(outcome.counts.values())
    if not outcome.trained:
        return f"nothing to train, all {total} runs are there"
    parts = [f"trained {len(outcome.trained)} of {total} runs"]
    parts += [
        f"{outcome.counts[state]} {state}"
        for state in ("diverged", "failed", "new", "damaged")
        if outcome.counts[state]
    ]
    return ", ".join(parts)
