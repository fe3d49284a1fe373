"""What the recommended training costs: FLOPs, hours and energy, at a rate that was measured or is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaling.accounting import JOULES_PER_KWH, training_flops, training_kwh
from scaling.predict.draft import Draft

if TYPE_CHECKING:
    from scaling.records import RunRecord
    from scaling.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """A machine that trains.

    Attributes:
        flops_per_s: Rate that it sustains.
        watts: Average power at that rate.
        source: Where both come from.
    """

    flops_per_s: float
    watts: float
    source: str


ONE_GPU = Trainer(
    flops_per_s=0.4 * 312e12,
    watts=400.0,
    source="one A100: 312e12 FLOP/s in bf16 and 400 W (NVIDIA data sheet), 40 % of it in use",
)
"""Where nothing was measured."""


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What one training takes.

    Attributes:
        flops: Exact FLOPs of the student's training.
        hours: Of these, on one such machine.
        kwh: Energy of those hours.
        source: Of the rate and the power.
        teacher_flops: What its teacher computes beside: a forward pass for each token that it writes, once, and what
            the recipe asks of it. 0 of real text and of teachers without a network, None where its size is not known.
    """

    flops: float
    hours: float
    kwh: float
    source: str
    teacher_flops: float | None = None


def training_cost(run: RunSpec | Draft, trainer: Trainer = ONE_GPU) -> TrainingCost:
    """FLOPs, hours and kWh of a training: ``flops / flops_per_s``, and that times the watts; its teacher's beside."""
    flops, of_teacher = _flops(run)
    kwh = training_kwh(flops, flops_per_s=trainer.flops_per_s, watts=trainer.watts)
    hours = flops / trainer.flops_per_s / 3600
    return TrainingCost(flops=flops, hours=hours, kwh=kwh, source=trainer.source, teacher_flops=of_teacher)


def _flops(run: RunSpec | Draft) -> tuple[float, float | None]:
    """Of the student and of its teacher, as a plan counts them."""
    if isinstance(run, Draft):
        return float(training_flops(run.model, run.n_tokens)), 0.0
    from scaling.records.compute import student_flops, teacher_flops
    from scaling.spec import PretrainedTeacher

    unknown = isinstance(run.data.generator, PretrainedTeacher)
    return student_flops(run, run.n_tokens), None if unknown else teacher_flops(run) or 0.0


def trainer_of(records: Iterable[RunRecord]) -> Trainer | None:
    """The machine that trained some runs, as they say themselves; None where none does."""
    from statistics import median

    timed = [one for one in records if one.outcome.tokens_per_s and one.outcome.kwh and one.outcome.wall_s]
    if not timed:
        return None
    rates = [training_flops(one.spec.model, 1) * (one.outcome.tokens_per_s or 0.0) for one in timed]
    joules = JOULES_PER_KWH * sum(one.outcome.kwh or 0.0 for one in timed)
    seconds = sum(one.outcome.wall_s or 0.0 for one in timed)
    source = f"median of {len(timed)} runs of the sweep"
    return Trainer(flops_per_s=median(rates), watts=joules / seconds, source=source)
