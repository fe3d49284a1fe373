"""A target that is not a loss: relative to students of the sweep itself, or in keystrokes; and the loss that it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from scaling.chain.keystrokes import keystrokes_of
from scaling.chain.workspace import Workspace
from scaling.config.expand import matches
from scaling.config.sweep import RelativeTarget
from scaling.errors import ConfigError, RecordError, SpecError
from scaling.predict.measured import configuration
from scaling.predict.question import Question
from scaling.spec import RunSpec, text_labels


@dataclass(frozen=True, kw_only=True)
class Target:
    """A loss to reach.

    Attributes:
        loss: In the unit of the fit.
        basis: What it was derived from, in words.
    """

    loss: float
    basis: str


def reference_runs(workspace: Workspace, target: RelativeTarget) -> tuple[RunSpec, ...]:
    """The runs of the sweep that a target is relative to: one size, volume and text, with all its seeds.

    Raises:
        ConfigError: the sweep trains no such students, or several kinds of them.
    """
    like, runs = target.like, workspace.runs
    of_text = [run for run in runs if matches(run.data.teacher.model_dump(mode="json"), like.teacher)]
    of_width = [run for run in of_text if run.model.width == like.width]
    tokens = like.tokens or max((run.tokens for run in of_width), default=0)
    found = tuple(run for run in of_width if run.tokens == tokens)
    # Seeds of one configuration are one cell; everything else that differs makes them several.
    if len({configuration(run) for run in found}) == 1:
        return found
    if not of_text:
        key, got = "teacher", f"matches none of {', '.join(sorted({run.data.label for run in runs}))}"
    elif not of_width:
        key, got = "width", f"got {like.width}, on that text are {sorted({run.model.width for run in of_text})}"
    elif not found:
        key, got = "tokens", f"got {tokens:,}, at that width are {sorted({run.tokens for run in of_width})}"
    else:
        key, got = "teacher", f"matches several kinds of students, {_difference(found)}"
    mark = workspace.config.document.mark(("recommend", "target", "like"))
    raise ConfigError(
        [
            f"{mark}: recommend.target.like.{key}: {got} — name students of one kind that this sweep trains; a "
            "sweep that is trained to be registered or added to a table needs no recommend section"
        ]
    )


def _difference(runs: Sequence[RunSpec]) -> str:
    """In what students differ beside their seeds, in words."""
    teachers = sorted({run.data.label for run in runs})
    if len(teachers) > 1:
        return f"of {teachers}"
    # What is as it is by default may be left out.
    first, *others = (json.loads(configuration(run)) for run in runs)
    names = {name for one in others for name in first | one if one.get(name) != first.get(name)}
    return f"which differ in {', '.join(sorted(names))}"


def ask(workspace: Workspace, **asked: Any) -> Question:
    """The question of a sweep file, a target that is no loss as the loss that the sweep's own runs give it.

    Args:
        workspace: The sweep.
        **asked: Fields of the question that stand before what the file says; None for what it says.

    Raises:
        ConfigError: nothing says what the target or the budget is.
        RecordError: the students that the target is relative to are not trained, or did not type.
        SpecError: a loss and savings are asked for.
    """
    recommend, savings = workspace.config.recommend, asked.pop("target_savings", None)
    if asked.get("target_loss") is not None:
        if savings is not None:
            raise SpecError("target_savings and target_loss: one target is needed, got both — leave one out")
        return Question.of(workspace.config, **asked)
    # Keystrokes that are asked for here stand before any target of the file.
    savings = savings or (recommend and recommend.target_savings)
    if savings:
        found = savings_target(workspace, savings, asked.get("probability") or (recommend or Question).probability)
        asked |= {"target_loss": found.loss, "target_basis": found.basis, "target_savings": savings}
    elif recommend and recommend.target:
        found = measured_target(workspace)
        asked |= {"target_loss": found.loss, "target_basis": found.basis}
    return Question.of(workspace.config, **asked)


def measured_target(workspace: Workspace) -> Target:
    """The number that a relative target is, of the runs that are finished.

    Args:
        workspace: A sweep whose file has a relative target; of its runs the loss counts that its law is fitted to.

    Raises:
        ConfigError: the sweep trains no such students.
        RecordError: they are not trained, or none of them ended well.
    """
    recommend = workspace.config.recommend
    if recommend is None or recommend.target is None:
        raise RecordError(f"{workspace.config.path}: has no relative target — ask for a number, as --target-loss 1.72")
    # What ended well counts, though a seed may have diverged.
    runs, target = reference_runs(workspace, recommend.target), recommend.target
    outcomes = [record.outcome for record in workspace.store.records([run.run_id for run in runs])]
    name = workspace.config.fit.loss
    losses = [loss for outcome in outcomes if outcome.status == "done" and (loss := getattr(outcome, name))]
    if not losses:
        raise RecordError(
            f"recommend.target: none of the {len(runs)} students that it names has a loss — "
            f"train them: {workspace.command('scaling sweep')}"
        )
    # The number alone would not tell a reader of the ledger where it came from.
    mean, first = geometric_mean(losses), runs[0]
    label = text_labels(run.data for run in workspace.runs)[first.data.text_id].teacher
    text = "real text" if label == "real" else f"text of {label}"
    basis = f"width {first.model.width} on {first.n_tokens:,} tokens of {text}: {mean:.4f}"
    basis += f", mean of {len(losses)} seeds" if len(losses) > 1 else ""
    basis += f"; {target.within:.3g} of it may be lost" if target.within else ""
    return Target(loss=(1 + target.within) * mean, basis=basis)


def savings_target(workspace: Workspace, savings: float, probability: float) -> Target:
    """The loss at which a student saves so many keys, with the probability that the target is to be met with.

    Both doubts are added, that of the loss and that of what it saves: together the student is at least as sure.

    Args:
        workspace: A sweep whose students have typed.
        savings: Share of keys.
        probability: Asked of the target.

    Raises:
        RecordError: no savings were measured, or the fit is of a loss on other text.
        SpecError: no keyboard saves so much.
        FitError: the students do not show how savings follow from the loss.
    """
    keystrokes = keystrokes_of(workspace)
    loss = keystrokes.loss_for(savings, probability)
    bits = loss / keystrokes.per_bit
    found = keystrokes.fit.predict(bits)
    basis = (
        f"{savings:.1%} of keystrokes with P ≥ {probability:g}: {bits:.4f} bits/byte, where {keystrokes.fit.n} "
        f"students say {found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"
    )
    return Target(loss=loss, basis=basis)
