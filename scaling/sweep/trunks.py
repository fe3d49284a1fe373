"""Runs grouped into trunks, in an order in which every teacher comes before its students."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from scaling.accounting import training_flops
from scaling.spec import RunSpec, teacher_run, trunk_steps


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One training at a constant rate, with a cooldown branch for each of its runs.

    Attributes:
        trunk_id: Shared by the runs.
        specs: The runs, fewest tokens first.
        needs: ``run_id`` of the teachers whose text these runs read; they are trained before.
        role: ``teacher`` if the runs are here only because others need them.
    """

    trunk_id: str
    specs: tuple[RunSpec, ...]
    needs: tuple[str, ...] = ()
    role: str = "student"

    @cached_property
    def steps(self) -> int:
        """Optimizer steps, the shared part once and every cooldown."""
        return trunk_steps(self.specs)

    @cached_property
    def flops(self) -> float:
        """Exact training FLOPs of the trunk and its branches."""
        first = self.specs[0]
        return float(training_flops(first.model, self.steps * first.step_tokens))

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        return tuple(spec.run_id for spec in self.specs)


def group(specs: Sequence[RunSpec]) -> list[Trunk]:
    """Trunks of all runs and of the teachers that they need, teachers first, else in the order of the runs."""
    asked = {spec.run_id for spec in specs}
    every: dict[str, RunSpec] = {}
    for spec in specs:
        _with_teachers(spec, every)
    members: dict[str, list[RunSpec]] = {}
    for spec in every.values():
        members.setdefault(spec.trunk_id, []).append(spec)
    trunks = [_trunk(trunk_id, runs, asked) for trunk_id, runs in members.items()]
    depth = _depths(every.values())
    return sorted(trunks, key=lambda trunk: max(depth[spec.run_id] for spec in trunk.specs))


def _with_teachers(spec: RunSpec, every: dict[str, RunSpec]) -> None:
    teacher = teacher_run(spec.data)
    if teacher is not None:
        _with_teachers(teacher, every)
    every.setdefault(spec.run_id, spec)


def _trunk(trunk_id: str, runs: Sequence[RunSpec], asked: set[str]) -> Trunk:
    teacher = teacher_run(runs[0].data)
    return Trunk(
        trunk_id=trunk_id,
        specs=tuple(sorted(runs, key=lambda spec: (spec.tokens, spec.run_id))),
        needs=() if teacher is None else (teacher.run_id,),
        role="student" if any(spec.run_id in asked for spec in runs) else "teacher",
    )


def _depths(specs: Iterable[RunSpec]) -> dict[str, int]:
    """Length of the chain of teachers behind each run."""
    depths: dict[str, int] = {}
    for spec in specs:
        depth, teacher = 0, teacher_run(spec.data)
        while teacher is not None:
            depth, teacher = depth + 1, teacher_run(teacher.data)
        depths[spec.run_id] = depth
    return depths
