"""All stages, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaling.chain.decision import fit_stage, recommend_stage
from scaling.chain.foresee import check_question
from scaling.chain.keyboard import KEYBOARD, keyboard_stage
from scaling.chain.proof import export_stage, ledger_stage, verify_stage
from scaling.chain.rounds import Rounds, train_in_rounds
from scaling.chain.training import Watch, collect_stage, train_stage
from scaling.chain.workspace import Workspace
from scaling.errors import ExtrapolationError, InfeasibleError
from scaling.formats.plain import plain
from scaling.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from scaling.export.bundle.files import Bundle
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit
    from scaling.predict.recommend.recommendation import Recommendation
    from scaling.spec import RunSpec
    from scaling.sweep.run import SweepOutcome


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the chain, done."""

    name: str
    seconds: float
    said: str


@dataclass(frozen=True, kw_only=True)
class Try:
    """One recommended student, trained and held against what was asked.

    Attributes:
        fit: The law that recommended it.
        recommendation: The chosen configuration.
        record: Its own run.
        bundle: The exported file and its manifest.
        verification: Asked and forecast beside measured.
        ledger: The row that was written.
    """

    fit: Fit
    recommendation: Recommendation
    record: RunRecord
    bundle: Bundle
    verification: Verification
    ledger: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """What `scaling run` found.

    Attributes:
        sweep: Name of the sweep.
        counts: Runs by state.
        tries: Students that were trained for the question, in this order; the last one is the answer.
        ended: Why no further student was tried, in one sentence.
        stages: What was done, and how long it took.
    """

    sweep: str
    counts: dict[str, int]
    tries: tuple[Try, ...]
    ended: str
    stages: tuple[Stage, ...]

    @property
    def answer(self) -> Try:
        """The last student that was tried: it meets the target, or no better one was found."""
        return self.tries[-1]

    @property
    def succeeded(self) -> bool:
        """The target is met, no promise is broken, no run failed."""
        return self.answer.verification.succeeded and not self.counts.get("failed")

    def to_json(self) -> dict[str, Any]:
        """As JSON values: the answer in full, of the tries before it their rows of the ledger."""
        return {
            "sweep": self.sweep,
            "counts": self.counts,
            **{name: plain(value) for name, value in vars(self.answer).items()},
            "tries": [dict(one.ledger) for one in self.tries],
            "ended": self.ended,
            "stages": plain(self.stages),
        }


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
    budget: float | None = None,
) -> ChainResult:
    """All stages of a sweep; whatever exists already is not made again.

    Args:
        workspace: The sweep.
        jobs: Worker processes.
        watch: Shows the events of trainings.
        say: Called with one line a stage.
        force: Accept a recommendation far beyond the data.
        budget: FLOPs to spend in rounds on the runs that say most, in place of all runs.

    Raises:
        ScalingError: of the stage that could not do its work.
        Preempted: if a stop was asked for; the same command goes on.
    """
    check_question(workspace, must_ask=True)
    workspace.prepare()
    clock = _Clock(say)
    with clock.stage("train") as said:
        if budget is None:
            outcome: SweepOutcome | Rounds = train_stage(workspace, jobs=jobs, watch=watch)
        else:
            outcome = train_in_rounds(workspace, budget, jobs=jobs, watch=watch, say=say)
            said.append(f"{outcome.ended} after {len(outcome.outcomes)} rounds")
            said.append(f"{outcome.flops:.3g} of {budget:.3g} FLOPs")
        said.append(_trained(outcome, None if budget is None else len(workspace.runs)))
        table = collect_stage(workspace)
    _type(workspace, clock)
    tries: list[Try] = []
    # Training is shared by all who ask for it; what follows is done by one after the other.
    with workspace.held(waits=lambda: say("another `scaling run` works on this sweep; this one goes on when it ends")):
        tries.append(_try(workspace, table, clock, watch=watch, force=force))
        while (ended := _ended(workspace, tries)) is None:
            say(f"the target was missed; fitted again with this run (try {len(tries)} of {_most(workspace)})")
            table = collect_stage(workspace, also=[one.record.spec for one in tries])
            _type(workspace, clock, also=[one.record.spec for one in tries])
            try:
                tries.append(_try(workspace, table, clock, watch=watch, force=force))
            except (InfeasibleError, ExtrapolationError) as error:
                ended = f"no further student can meet the target: {error}"
                break
    return ChainResult(
        sweep=workspace.config.name,
        counts=dict(outcome.counts),
        tries=tuple(tries),
        ended=ended,
        stages=tuple(clock.stages),
    )


def _type(workspace: Workspace, clock: _Clock, *, also: Sequence[RunSpec] = ()) -> None:
    """What the students save on a keyboard, where that is the target."""
    if workspace.config.recommend and workspace.config.recommend.target_savings:
        with clock.stage("keyboard") as said:
            typed = keyboard_stage(workspace, also=also, watch=clock.say)
            said.append(f"{len(typed.table)} rows of {KEYBOARD}{f'; {typed.fit!r}' if typed.fit else ''}")


def _try(workspace: Workspace, table: pd.DataFrame, clock: _Clock, *, watch: Watch | None, force: bool) -> Try:
    """From a table of runs to one student that was held against the question."""
    from scaling.sweep.warnings import edge_warning

    with clock.stage("fit") as said:
        fit = fit_stage(workspace, table, say=clock.say)
        said.append(repr(fit.law))
    with clock.stage("recommend") as said:
        recommendation = recommend_stage(workspace, fit, force=force)
        said.append(_chosen(recommendation))
        # A size that was measured needs no runs around it.
        warning = edge_warning(recommendation.run, workspace.runs)
        if warning and recommendation.choice.measured is None:
            clock.say(f"warning: {warning}")
    with clock.stage("train recommended") as said:
        said.append(_trained(train_stage(workspace, runs=[recommendation.run], jobs=1, watch=watch)))
        record = workspace.store.load(recommendation.run.run_id)
    with clock.stage("export") as said:
        bundle = export_stage(workspace, recommendation, fit)
        said.append(f"{bundle.model_path} ({bundle.model_path.stat().st_size:,} bytes)")
        said += [bundle.moved] if bundle.moved else []
    with clock.stage("verify") as said:
        verification = verify_stage(workspace, fit, recommendation, bundle)
        row = ledger_stage(workspace, fit, recommendation, verification)
        said.append(_verdict(verification))
    return Try(
        fit=fit, recommendation=recommendation, record=record, bundle=bundle, verification=verification, ledger=row
    )


def _ended(workspace: Workspace, tries: Sequence[Try]) -> str | None:
    """Why no further student is tried; None to go on."""
    last = tries[-1]
    if last.verification.target_met is not False:
        return "the target is met" if last.verification.target_met else "the student's loss was not measured"
    if last.recommendation.run.run_id in {one.recommendation.run.run_id for one in tries[:-1]}:
        return "the same student was recommended again"
    if len(tries) >= _most(workspace):
        return f"none of {len(tries)} students met the target — raise recommend.tries, the target or the memory"
    return None


def _most(workspace: Workspace) -> int:
    return workspace.config.recommend.tries if workspace.config.recommend else 1


def _chosen(found: Recommendation) -> str:
    choice = found.choice
    basis = "forecast" if choice.measured is None else "measured"
    loss = f"{basis} {choice.expected.value:.4f} {found.unit}"
    return f"width {choice.run.model.width}, {loss}, P {choice.probability:.2f}"


def _verdict(found: Verification) -> str:
    target = {True: "target met", False: "TARGET MISSED", None: "target not measured"}[found.target_met]
    return f"{target}, {'all promises hold' if found.passed else 'A PROMISE IS BROKEN, see the table'}"


def _trained(outcome: SweepOutcome | Rounds, n_runs: int | None = None) -> str:
    """What was trained of the runs that were asked for, or of all runs of a sweep that was bought from."""
    total = sum(outcome.counts.values()) if n_runs is None else n_runs
    if not outcome.trained and n_runs is not None:
        return "no run was bought"
    if not outcome.trained:
        return f"nothing to train, {total} of {total} runs are there"
    parts = [f"trained {len(outcome.trained)} of {total} runs"]
    parts += [
        f"{outcome.counts[state]} {state}"
        for state in ("diverged", "failed", "new", "damaged")
        if outcome.counts[state]
    ]
    return ", ".join(parts)
