"""What a sweep will cost and whether it will answer, before anything is spent."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scaling.accounting import EnergySettings, count_parameters, training_bytes, training_kwh
from scaling.records import RunStore
from scaling.records.ahead import may_keep
from scaling.records.compute import student_flops, teacher_flops
from scaling.spec import RunSpec, TextLabel, text_labels
from scaling.sweep.accelerators import accelerators
from scaling.sweep.cost import Cost
from scaling.sweep.expectation import expect
from scaling.sweep.outcomes import DUE, RUN_STATES, RunState, state_of
from scaling.sweep.pace import FASTER, SLOWER, Pace, known_pace
from scaling.sweep.trunks import Trunk, group
from scaling.sweep.warnings import warnings_for

CHECKPOINT_BYTES_PER_PARAM = 4 * 3
"""float32 weights and AdamW's two moments."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One row of the plan.

    Attributes:
        spec: The run.
        teacher: What the plan calls the text that it reads, and what its student has read before.
        state: ``new``, how an earlier training of it ended, or ``damaged`` where its files no longer match.
        role: ``student``, or ``start`` or ``teacher`` if it is here only because others need it.
        n_params: N without embeddings.
        n_tokens: D seen.
        steps: Optimizer steps, cooldown included.
        flops: What the student computes, exactly, for the run by itself.
        teacher_flops: What its teacher computes for it, as in the runs table; None of a teacher that is no run.
        seconds: Estimated time of the run by itself.
        checkpoint_bytes: Weights that stay on disk.
    """

    spec: RunSpec
    teacher: str
    state: RunState
    role: str
    n_params: int
    n_tokens: int
    steps: int
    flops: float
    teacher_flops: float | None
    seconds: float
    checkpoint_bytes: int

    @property
    def is_due(self) -> bool:
        """True for a run that is to be trained: one that never was, or whose record is damaged."""
        return self.state in DUE

    def row(self) -> dict[str, Any]:
        """The run as one flat row."""
        values = {name: getattr(self, name) for name in _ROW}
        labels = {"run_id": self.spec.run_id, "trunk_id": self.spec.trunk_id, "width": self.spec.model.width}
        return {**labels, "teacher": self.teacher, "seed": self.spec.seed, **values}


_ROW = ("state", "role", "n_params", "n_tokens", "steps", "flops", "teacher_flops", "seconds", "checkpoint_bytes")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep, grouped and priced.

    Attributes:
        trunks: All of them, what others need first.
        runs: All runs, in the order of the trunks.
        pace: Where the estimated seconds come from.
        cost: What is left of it, in FLOPs and in seconds.
        warnings: One sentence for each thing that is likely to spoil the answer.
        forecast_error: Expected relative error of a forecast at twice the largest N and D (see
            :mod:`scaling.sweep.expectation`), None where it was not asked for.
    """

    trunks: tuple[Trunk, ...]
    runs: tuple[PlannedRun, ...]
    pace: Pace
    cost: Cost
    warnings: tuple[str, ...] = ()
    forecast_error: float | None = None

    @property
    def pending(self) -> tuple[Trunk, ...]:
        """Trunks with at least one run that is to be trained."""
        return self.cost.pending

    @property
    def trunk_flops(self) -> dict[str, float]:
        """FLOPs left of each pending trunk, with those of the text that is written for it."""
        return self.cost.trunk_flops

    @property
    def flops(self) -> float:
        """FLOPs still to be spent, those of teachers that are runs included; the shared part of a trunk counts once."""
        return self.cost.flops

    @property
    def flops_done(self) -> float:
        """FLOPs of what is finished: trunks, branches of others, and texts."""
        return self.cost.flops_done

    def counts(self) -> dict[str, int]:
        """Runs by state."""
        states = [run.state for run in self.runs]
        return {state: states.count(state) for state in RUN_STATES}

    def seconds(self, jobs: int = 1) -> float:
        """Estimated wall time on ``jobs`` equal workers (:meth:`scaling.sweep.cost.Cost.seconds`)."""
        return self.cost.seconds(jobs)

    def seconds_range(self, jobs: int = 1) -> tuple[float, float]:
        """From an idle machine to a slower or busy one: as wide as the pace is uncertain."""
        seconds = self.seconds(jobs)
        return (FASTER * seconds, SLOWER * seconds) if self.pace.source == "guess" else (seconds, seconds)

    def kwh(self, *, watts: float | None = None) -> float:
        """Energy of the training that is left, at the power that a worker draws: by default that of one accelerator, or
        of one core of a machine without any."""
        settings, seconds = EnergySettings.from_environment(os.environ), self.seconds()
        if not seconds:
            return 0.0
        power = _worker_watts(settings) if watts is None else watts
        return training_kwh(self.flops, flops_per_s=self.flops / seconds, watts=power, pue=settings.pue)

    def co2e_kg(self) -> float:
        """CO2 equivalents of that energy."""
        return EnergySettings.from_environment(os.environ).co2e_kg(self.kwh())

    @property
    def step_bytes(self) -> int:
        """Forecast of the memory that a step of the largest pending trunk takes."""
        return max((step_bytes(trunk.specs[0]) for trunk in self.pending), default=0)

    @property
    def checkpoint_bytes(self) -> int:
        """Disk that the students will stay on, and one trunk's state in progress for each pending trunk."""
        kept = sum(run.checkpoint_bytes for run in self.runs if run.is_due)
        sizes = [count_parameters(trunk.specs[0].model).n_params_total for trunk in self.pending]
        return kept + CHECKPOINT_BYTES_PER_PARAM * sum(sizes)

    def to_json(self) -> dict[str, Any]:
        """The plan as data."""
        return {
            "runs": [run.row() for run in self.runs],
            "trunks": [
                {
                    "trunk_id": trunk.trunk_id,
                    "steps": trunk.steps,
                    "flops": trunk.flops,
                    "step_bytes": step_bytes(trunk.specs[0]),
                    "role": trunk.role,
                }
                for trunk in self.trunks
            ],
            "counts": self.counts(),
            "flops": self.flops,
            "seconds": self.seconds(),
            # Before any run here the estimate is a range.
            "seconds_range": self.seconds_range(),
            "pace": asdict(self.pace) | {"basis": self.pace.basis},
            "kwh": self.kwh(),
            "co2e_kg": self.co2e_kg(),
            "checkpoint_bytes": self.checkpoint_bytes,
            "warnings": list(self.warnings),
            "forecast_error": self.forecast_error if self.forecast_error != math.inf else None,
        }


def plan(
    specs: Sequence[RunSpec],
    store: RunStore,
    *,
    pace: Pace | None = None,
    where: str | None = None,
    expectation: bool = False,
) -> Plan:
    """Group runs into trunks, find what is done already, and price the rest.

    Args:
        specs: The runs of a sweep; the runs of trained teachers and of starts are added.
        store: Where runs are committed. It is only read.
        pace: Seconds of a step; by default what the results folder knows.
        where: Which of them the fit will keep; the warnings and the expectation are about these.
        expectation: Work out ``forecast_error`` as well, which loads pandas.
    """
    trunks = group(specs)
    every = [spec for trunk in trunks for spec in trunk.specs]
    states = {spec.run_id: state_of(store, spec.run_id) for spec in every}
    due = {run_id for run_id, state in states.items() if state in DUE}
    pace = pace or known_pace(every, store, due=[spec for spec in every if spec.run_id in due])
    labels = text_labels(spec.data for spec in every)
    runs = [_planned(spec, trunk, states[spec.run_id], pace, labels) for trunk in trunks for spec in trunk.specs]
    # What others need, and what the fit drops, spoils no answer.
    students = may_keep(where, [run.spec for run in runs if run.role == "student"])
    return Plan(
        trunks=tuple(trunks),
        runs=tuple(runs),
        pace=pace,
        cost=Cost.of(trunks, due, store, pace),
        warnings=tuple(warnings_for(students)),
        forecast_error=expect(students).error if expectation and students else None,
    )


def _worker_watts(settings: EnergySettings) -> float:
    # SCALING_WATTS is of the whole machine, so it is shared by all of its cores, not by those that are free to us.
    return settings.accelerator_watts("gpu") if accelerators() else settings.core_watts(os.cpu_count() or 1)


def step_bytes(spec: RunSpec) -> int:
    """Forecast of the memory that a training step of a run takes."""
    return training_bytes(spec.model, spec.optim.batch_size).total


def _planned(spec: RunSpec, trunk: Trunk, state: RunState, pace: Pace, labels: Mapping[str, TextLabel]) -> PlannedRun:
    counts = count_parameters(spec.model)
    before = labels[spec.start_from.data.text_id] if spec.start_from else None
    return PlannedRun(
        spec=spec,
        teacher=labels[spec.data.text_id].teacher + (f", after {before.source} {before.teacher}" if before else ""),
        state=state,
        role=trunk.role,
        n_params=counts.n_params,
        n_tokens=spec.n_tokens,
        steps=spec.steps,
        flops=student_flops(spec, spec.n_tokens),
        teacher_flops=teacher_flops(spec),
        seconds=pace.seconds(spec, spec.steps),
        checkpoint_bytes=4 * counts.n_params_total,
    )
