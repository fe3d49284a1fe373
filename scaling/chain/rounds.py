"""Training in rounds: each buys the runs that say most about the decision, until it is settled or the budget spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.chain.decision import rounding_of
from scaling.chain.target import ask
from scaling.chain.training import Watch, collect_stage, train_runs
from scaling.chain.workspace import Workspace
from scaling.predict.next_of_sweep import Advice, advise
from scaling.predict.question import Question
from scaling.sweep.outcomes import RUN_STATES

if TYPE_CHECKING:
    from scaling.sweep.run import SweepOutcome


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What was trained in rounds.

    Attributes:
        outcomes: Of the rounds, in this order.
        flops: Spent by them.
        last: What is known after the last one.
        ended: Why no further round was begun, in one sentence.
    """

    outcomes: tuple[SweepOutcome, ...]
    flops: float
    last: Advice
    ended: str

    @property
    def trained(self) -> tuple[str, ...]:
        """Runs trained by this call."""
        return tuple(run_id for one in self.outcomes for run_id in one.trained)

    @property
    def counts(self) -> dict[str, int]:
        """Runs of all rounds by state."""
        return {state: sum(one.counts.get(state, 0) for one in self.outcomes) for state in RUN_STATES}


def next_runs_stage(
    workspace: Workspace, flops: float, question: Question | None = None, *, most_trunks: int | None = None
) -> Advice:
    """The runs of a sweep that are most worth their FLOPs, given those that are there.

    Args:
        workspace: The sweep.
        flops: Budget.
        question: What is to be decided; by default what the sweep file asks.
        most_trunks: Trainings to choose at most; None for as many as the budget allows.
    """
    from scaling.records import runs_table

    table = runs_table(workspace.store.records(run.run_id for run in workspace.runs))
    asked = question or ask(workspace)
    return advise(
        asked,
        workspace.config,
        workspace.runs,
        table,
        flops=flops,
        most_trunks=most_trunks,
        rounding=rounding_of(workspace),
    )


def train_in_rounds(
    workspace: Workspace,
    flops: float,
    *,
    jobs: int = 1,
    watch: Watch | None = None,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> Rounds:
    """Buy runs of a sweep round by round; each round as many trainings as there are workers.

    Args:
        workspace: The sweep.
        flops: Budget of all rounds; runs that are there cost nothing.
        jobs: Worker processes.
        watch: Shows the events of trainings.
        say: Called with one line a round.
        **options: Of `scaling.sweep.run.run`, as its trainer.

    Raises:
        ConfigError: a training does not fit the memory of this machine.
        Preempted: if a stop was asked for; the same command goes on, with what it has trained for nothing.
    """
    outcomes: list[SweepOutcome] = []
    spent, tried = 0.0, set[str]()
    # What is there already is looked up anew each time: other workers may have trained some of it.
    while True:
        advice = next_runs_stage(workspace, flops - spent, most_trunks=jobs)
        say(f"round {len(outcomes) + 1}: {said(advice)}")
        # A run that diverged is no evidence, and is not bought twice.
        chosen = [one for one in advice.runs if one.run_id not in tried]
        if not chosen:
            ended = "the decision is settled" if advice.settled else "no run within what is left says more"
            break
        outcomes.append(train_runs(workspace, chosen, jobs=jobs, watch=watch, **options))
        spent += advice.flops
        tried |= {one.run_id for one in chosen}
    collect_stage(workspace)
    return Rounds(outcomes=tuple(outcomes), flops=spent, last=advice, ended=ended)


def said(advice: Advice) -> str:
    """What is known, and what is bought next, in one line."""
    if advice.outlook is None:
        return f"nothing is known yet; the cheapest trunk, {len(advice.runs)} runs, {advice.flops:.3g} FLOPs"
    size = "no candidate" if advice.choice is None else f"width {advice.choice}"
    doubt = f"expected error {advice.outlook.error:.2f} doublings of N"
    known = f"{size} in {advice.outlook.agreement:.0%} of the draws, {doubt}"
    known += "" if advice.outlook.told else ", by the prior alone: no two sizes have read this text"
    if not advice.runs:
        return known
    return f"{known}; next {len(advice.runs)} runs, {advice.flops:.3g} FLOPs, foreseen error {advice.after:.2f}"


def sweep_values(workspace: Workspace, advice: Advice) -> dict[str, Any]:
    """The values of a sweep file that trains what is advised, and asks what this sweep asks."""
    from scaling.config.written import sweep_of

    written = workspace.config.document.values
    kept: dict[str, Any] = {key: written[key] for key in ("fit", "recommend") if key in written}
    return sweep_of(advice.runs, f"{workspace.config.name}-next", sections=kept)
