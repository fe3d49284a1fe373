"""What a worker trains with: the promises that a trainer keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from scaling.records import RunRecord, RunStore
from scaling.spec import RunSpec


class Step(Protocol):
    """What a trainer says now and then."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def tokens_per_s(self) -> float | None: ...


class TrunkStep(Step, Protocol):
    """The same where several trunks are trained at once."""

    @property
    def trunk_id(self) -> str: ...


class Trainer(Protocol):
    """What trains a trunk. It commits every branch itself, and raises Preempted once it is asked to stop.

    ``prepare`` makes what the streams of some runs read — a tokenizer, a teacher's text — and may be called again;
    it is stopped in the same way.
    """

    def prepare(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        *,
        progress: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None: ...

    def train(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        *,
        progress: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> list[RunRecord]: ...


@runtime_checkable
class CohortTrainer(Trainer, Protocol):
    """A trainer that may train several trunks of one shape at once."""

    def cohort_size(self, spec: RunSpec) -> int:
        """How many trunks of this shape are best trained together here."""
        ...

    def same_shape(self, spec: RunSpec, other: RunSpec) -> bool:
        """True for runs whose trunks can be."""
        ...

    def train_together(
        self,
        trunks: Sequence[Sequence[RunSpec]],
        store: RunStore,
        *,
        progress: Callable[[TrunkStep], None],
        should_stop: Callable[[], bool],
    ) -> list[list[RunRecord]]: ...
