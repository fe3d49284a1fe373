"""What can be known before anything is trained: a question that nothing can answer, a size that does not fit here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling.chain.target import reference_runs
from scaling.chain.workspace import Workspace
from scaling.dimensions import GGUF_BLOCK
from scaling.errors import ConfigError, SpecError
from scaling.machine import memory_bytes
from scaling.spec import RunSpec, TextSource, WorldSource
from scaling.tables.units import NATS, loss_unit

if TYPE_CHECKING:
    from scaling.sweep.plan import Plan


def check_question(workspace: Workspace, *, must_ask: bool = False) -> None:
    """Refuse a question whose budget is smaller than the smallest student that could be offered.

    Args:
        workspace: The sweep.
        must_ask: Refuse a sweep that asks nothing too: it can be trained, but nothing can be recommended.

    Raises:
        ConfigError: the memory is too small, the device unknown, the teacher not one of the sweep's, a relative target
            names students that it does not train, keystrokes are asked of what nobody types, or nothing is asked.
        SpecError: a target that guessing meets, in another unit, or one below the entropy of a world.
    """
    from scaling.config.expand import recommended_text
    from scaling.predict.phones.footprint import footprint
    from scaling.predict.question import Question
    from scaling.predict.recommend.family import at_width
    from scaling.predict.solve.units import check_guess

    asked = workspace.config.recommend
    if asked is None:
        if must_ask:
            Question.of(workspace.config)  # which says what is missing
        return
    if asked.target is not None:
        reference_runs(workspace, asked.target)
    if asked.target_savings is not None and not all(isinstance(run.data.source, TextSource) for run in workspace.runs):
        mark = workspace.config.document.mark(("recommend", "target_savings"))
        raise ConfigError(
            [f"{mark}: recommend.target_savings: only text is typed, which this sweep does not read — say target_loss"]
        )
    # A target that is no loss is not known yet. Only bytes are looked at here, for which any loss will do.
    question = Question.of(workspace.config, target_loss=asked.target_loss or 1.0)
    text = recommended_text(workspace.config, workspace.runs, teacher=question.teacher, targets=question.targets)
    template = next(run for run in workspace.runs if run.data.text_id == text.text_id)
    if asked.target_loss is not None:
        unit = loss_unit(workspace.config.fit.loss)
        check_guess(asked.target_loss, template.model.vocab_size, unit=unit)
        if unit == NATS and isinstance(template.data.source, WorldSource):
            _refuse_below_entropy(asked.target_loss, template.data.source)
    # A file with a real tokenizer is larger still: what does not fit without one never does.
    model = at_width(template.model, min(question.widths or (GGUF_BLOCK,)))
    needed = footprint(
        model, context=question.context, format=question.format, architecture=question.architecture
    ).total_bytes
    if needed > question.budget_bytes:
        key = "memory" if question.memory_bytes is not None else "device"
        mark = workspace.config.document.mark(("recommend", key))
        raise ConfigError(
            [
                f"{mark}: recommend.{key}: got {question.budget_bytes:,} bytes, but a student of width {model.width} "
                f"takes {needed:,} with its engine — allow at least so many, as memory: {-(-needed // 2**20)}MiB"
            ]
        )


def _refuse_below_entropy(target_loss: float, source: WorldSource) -> None:
    """Of a world it is known what nobody can predict: no student, trained on whatever text, comes below its entropy."""
    from scaling.data.worlds import open_world

    entropy = open_world(source).entropy
    if target_loss < entropy:
        raise SpecError(
            f"target_loss: got {target_loss:g} nats/token, allowed is more than {entropy:.4f}, the entropy of "
            f"{source.kind}, which no student can pass — ask for more"
        )


def check_memory(workspace: Workspace, plan: Plan, *, jobs: int = 1) -> None:
    """Refuse a training of which one step needs more memory than this machine has, or lets this process have.

    Args:
        workspace: The sweep.
        plan: What is to be trained.
        jobs: Workers that train at once, the largest trunks first.

    Raises:
        ConfigError: it does; with what would fit.
    """
    from scaling.sweep.plan import step_bytes

    here, largest = memory_bytes(), sorted((trunk.specs[0] for trunk in plan.pending), key=step_bytes, reverse=True)
    needed = [sum(map(step_bytes, largest[:n])) for n in range(1, min(jobs, len(largest)) + 1)]
    if here is not None and needed and needed[-1] > here:
        said = _too_large(largest[0], needed, here)
        where = f"{workspace.config.path or 'sweep'}:1:1"
        raise ConfigError([f"{where}: {said}; a sweep that another machine trains is planned with --elsewhere"])


def _too_large(largest: RunSpec, needed: list[int], here: int) -> str:
    """What does not fit, given the bytes of one worker, of two, …"""
    there = f"this machine has {here / 2**30:,.1f} GiB"
    if needed[0] > here:
        what = f"a step at width {largest.model.width}, batch {largest.optim.batch_size}, needs"
        return f"model.width: {what} {needed[0] / 2**30:,.1f} GiB, {there} — lower model.width or optim.batch_size"
    fit = sum(n_bytes <= here for n_bytes in needed)
    what = f"steps of {len(needed)} workers at once need {needed[-1] / 2**30:,.1f} GiB"
    return f"--jobs: {what}, {there} — pass --jobs {fit}"
