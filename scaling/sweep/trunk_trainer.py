"""The framework's own trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scaling.errors import Preempted
from scaling.records import RunRecord, RunStore
from scaling.spec import RunSpec
from scaling.sweep.trainer import Step, TrunkStep


class TrunkTrainer:
    """Trains with jax, which is loaded when it is first used."""

    def prepare(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        *,
        progress: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        from scaling.teach.generate import GenerationProgress
        from scaling.teach.teachers import prepare

        def listen(report: object) -> None:
            if isinstance(report, GenerationProgress):
                progress(f"{report.split} text of the teacher, {report.tokens:,} of {report.n_tokens:,} tokens")
            # Every block is on disk before it is reported, so this is a safe place to stop.
            if should_stop():
                raise Preempted("stopped while a teacher's text was written; what is written is kept")

        prepare(specs, store, progress=listen)

    def train(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        *,
        progress: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> list[RunRecord]:
        from scaling.train.loop import train_trunk

        return train_trunk(specs, store, progress=progress, should_stop=should_stop)

    def cohort_size(self, spec: RunSpec) -> int:
        from scaling.train.cohort import cohort_size

        return cohort_size(spec)

    def same_shape(self, spec: RunSpec, other: RunSpec) -> bool:
        from scaling.train.cohort import shape_of

        return shape_of(spec) is shape_of(other)

    def train_together(
        self,
        trunks: Sequence[Sequence[RunSpec]],
        store: RunStore,
        *,
        progress: Callable[[TrunkStep], None],
        should_stop: Callable[[], bool],
    ) -> list[list[RunRecord]]:
        from scaling.train.cohort import train_cohort

        return train_cohort(trunks, store, progress=progress, should_stop=should_stop)
