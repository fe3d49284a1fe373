"""What is left of a sweep, in FLOPs and in seconds: for the plan before it runs, for whoever looks while it does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scaling.data.mixing import generated_tokens
from scaling.data.shards import read_card
from scaling.data.text import Split, teacher_text_dir
from scaling.errors import ScalingError
from scaling.records import RunStore
from scaling.records.checkpoints import descriptions
from scaling.records.compute import writing_flops
from scaling.spec import RunSpec, teacher_run, trunk_steps
from scaling.sweep.pace import Pace, shape_of
from scaling.sweep.trunks import Trunk


@dataclass(frozen=True)
class Unwritten:
    """Tokens that a teacher has still to generate for the run that reads most of a text."""

    spec: RunSpec
    train: int
    held_out: int

    @property
    def flops(self) -> float:
        """What its network computes for the training text."""
        asked = generated_tokens(self.spec)
        return writing_flops(self.spec) * self.train / asked if asked else 0.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What is left of a sweep.

    Attributes:
        trunks: All of them, what others need first.
        pending: Those with a run that is to be trained.
        steps_left: Optimizer steps left, by ``trunk_id`` of a pending one.
        texts: What is left of each text that pending runs read, by its key.
        pace: Seconds of a step.
    """

    trunks: tuple[Trunk, ...]
    pending: tuple[Trunk, ...]
    steps_left: Mapping[str, int]
    texts: Mapping[str, Unwritten]
    pace: Pace

    @classmethod
    def of(
        cls,
        trunks: Sequence[Trunk],
        due: Collection[str],
        store: RunStore,
        pace: Pace,
        *,
        told: Mapping[str, int] | None = None,
    ) -> Cost:
        """Look at what is there.

        Args:
            trunks: All trunks of a sweep, what others need first.
            due: ``run_id`` of the runs that are to be trained.
            store: The results folder; it is only read.
            pace: Seconds of a step.
            told: Steps left of trunks whose workers say so.
        """
        pending = tuple(trunk for trunk in trunks if any(run_id in due for run_id in trunk.run_ids))
        left = {trunk.trunk_id: _steps_left(trunk, due, store) for trunk in pending} | (dict(told) if told else {})
        texts = {key: _unwritten(spec, store) for key, spec in _longest_readers(pending).items()}
        return cls(trunks=tuple(trunks), pending=pending, steps_left=left, texts=texts, pace=pace)

    @cached_property
    def trunk_flops(self) -> dict[str, float]:
        """FLOPs left of each pending trunk; a text is paid for once, by the trunk that reads most of it."""
        cost = {trunk.trunk_id: trunk.flops * self._part_left(trunk) for trunk in self.pending}
        for text in self.texts.values():
            cost[text.spec.trunk_id] += text.flops
        return cost

    @property
    def flops(self) -> float:
        """FLOPs still to be spent."""
        return sum(self.trunk_flops.values())

    @property
    def flops_total(self) -> float:
        """FLOPs of the whole sweep, what is finished included."""
        written = sum(writing_flops(spec) for spec in _longest_readers(self.trunks).values())
        return sum(trunk.flops for trunk in self.trunks) + written

    @property
    def flops_done(self) -> float:
        """FLOPs of what is finished."""
        return self.flops_total - self.flops

    def seconds(self, jobs: int = 1) -> float:
        """Estimated wall time on ``jobs`` equal workers: training, evaluation, compiling, and what teachers generate.

        The longest chain of a teacher, its text and a student of it is a lower bound.
        """
        if not self.pending:
            return 0.0
        jobs = max(1, jobs)
        trunks = {trunk.trunk_id: self._trunk_s(trunk) for trunk in self.pending}
        texts = {key: self.pace.generation_s(text.spec, text.train + text.held_out) for key, text in self.texts.items()}
        # Every worker that meets a shape compiles it.
        shapes = Counter(shape_of(trunk.specs[0]) for trunk in self.pending)
        compiling = self.pace.compile_s * sum(min(jobs, n_trunks) for n_trunks in shapes.values())
        shared = (sum(trunks.values()) + sum(texts.values()) + compiling) / jobs
        return self.pace.start_s + max(shared, self._longest_chain_s(trunks, texts) + self.pace.compile_s)

    def _part_left(self, trunk: Trunk) -> float:
        return self.steps_left[trunk.trunk_id] / trunk.steps

    def _trunk_s(self, trunk: Trunk) -> float:
        first = trunk.specs[0]
        # Each branch is measured at its end: of those that are left, by and large as many as of the steps.
        measuring = self._part_left(trunk) * len(trunk.specs) * self.pace.evaluation_s(first)
        return self.pace.seconds(first, self.steps_left[trunk.trunk_id]) + measuring

    def _longest_chain_s(self, trunks: Mapping[str, float], texts: Mapping[str, float]) -> float:
        ended: dict[str, float] = {}
        # What others need comes before them.
        for trunk in self.pending:
            began = max((ended.get(run_id, 0.0) for run_id in trunk.needs), default=0.0)
            finish = began + texts[trunk.specs[0].data.stream_id] + trunks[trunk.trunk_id]
            ended |= dict.fromkeys(trunk.run_ids, finish)
        return max(ended.values(), default=0.0)


def _steps_left(trunk: Trunk, due: Collection[str], store: RunStore) -> int:
    """Steps of the branches that are to be trained, and of what they share, as far as no checkpoint has it."""
    missing = [spec for spec in trunk.specs if spec.run_id in due]
    first = min(missing, key=lambda spec: spec.steps)
    # A checkpoint beyond the first branch that is missing is of no use to it: training goes on from one before.
    for told in descriptions(store.trunk_dir(trunk.trunk_id)):
        steps = told.get("steps", {})
        if steps.get("trunk", math.inf) <= first.branch_step:
            reached = "branch" if told.get("branch_id") == first.run_id else "trunk"
            return trunk_steps(missing) - steps[reached]
    return trunk_steps(missing)


def _unwritten(spec: RunSpec, store: RunStore) -> Unwritten:
    train, held_out = generated_tokens(spec), spec.evaluation.tokens
    if teacher_run(spec.data) is None:
        return Unwritten(spec, train, held_out)
    return Unwritten(
        spec,
        max(0, train - _written(spec, store, "train", spec.data.seed)),
        max(0, held_out - _written(spec, store, "held_out", spec.evaluation.seed)),
    )


def _written(spec: RunSpec, store: RunStore, split: Split, seed: int) -> int:
    """Tokens of a text that are on disk; none where it cannot be read, for it is then written again."""
    try:
        card = read_card(teacher_text_dir(store, spec.data, seed=seed, split=split, context=spec.model.context))
    except ScalingError:
        return 0
    return card.tokens if card else 0


def _longest_readers(trunks: Sequence[Trunk]) -> dict[str, RunSpec]:
    """The run that reads most of each text."""
    longest: dict[str, RunSpec] = {}
    for last in (trunk.specs[-1] for trunk in trunks):
        key = last.data.stream_id
        if key not in longest or last.n_tokens > longest[key].n_tokens:
            longest[key] = last
    return longest
