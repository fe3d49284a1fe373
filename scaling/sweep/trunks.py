"""Runs grouped into trunks, in an order in which every teacher, and every start, comes before its students."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scaling.records.compute import asked_flops, student_flops
from scaling.spec import RunSpec, needed_runs, trunk_steps

ROLES = ("student", "start", "teacher")
"""What a trunk is there for; one that serves several ends has the first."""


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One training at a constant rate, with a cooldown branch for each of its runs.

    Attributes:
        trunk_id: Shared by the runs.
        specs: The runs, fewest tokens first.
        needs: ``run_id`` of what is trained before: the teacher whose text these runs read, the run they start from.
        role: One of `ROLES`; all but students are here only because others need them.
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
        """Exact FLOPs of training the trunk and its branches, with what their recipe asks of the teacher's network."""
        first = self.specs[0]
        n_tokens = self.steps * first.step_tokens
        return student_flops(first, n_tokens) + asked_flops(first, n_tokens)

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        return tuple(spec.run_id for spec in self.specs)


def group(specs: Sequence[RunSpec]) -> list[Trunk]:
    """Trunks of all runs and of those that they need, which come first, else in the order of the runs."""
    every: dict[str, RunSpec] = {}
    for spec in specs:
        _with_needed(spec, every)
    roles = {spec.start_from.run_id: "start" for spec in every.values() if spec.start_from}
    roles |= {spec.run_id: "student" for spec in specs}
    members: dict[str, list[RunSpec]] = {}
    for spec in every.values():
        members.setdefault(spec.trunk_id, []).append(spec)
    trunks = [_trunk(trunk_id, runs, roles) for trunk_id, runs in members.items()]
    return sorted(trunks, key=lambda trunk: _depth(trunk.specs[0]))


def _with_needed(spec: RunSpec, every: dict[str, RunSpec]) -> None:
    for needed in needed_runs(spec):
        _with_needed(needed, every)
    every.setdefault(spec.run_id, spec)


def _trunk(trunk_id: str, runs: Sequence[RunSpec], roles: Mapping[str, str]) -> Trunk:
    return Trunk(
        trunk_id=trunk_id,
        specs=tuple(sorted(runs, key=lambda spec: (spec.tokens, spec.run_id))),
        needs=tuple(needed.run_id for needed in needed_runs(runs[0])),
        role=next(role for role in ROLES if role in {roles.get(spec.run_id, "teacher") for spec in runs}),
    )


def _depth(spec: RunSpec) -> int:
    """Length of the longest chain of needed runs behind one."""
    return max((1 + _depth(needed) for needed in needed_runs(spec)), default=0)
