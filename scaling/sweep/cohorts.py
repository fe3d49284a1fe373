"""A worker whose device is best used by several trunks at once: it claims them one by one and trains them together.

Each trunk keeps its own claim and its own records, so that to other workers nothing is different. Whatever goes wrong
with a cohort is not held against its members: they are tried again each by itself, and fail or succeed there.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack

from scaling.errors import OutOfMemory, Preempted
from scaling.files import machine_error
from scaling.records import RunStore
from scaling.stop import Stop
from scaling.sweep.lease import Claims, Lease
from scaling.sweep.outcomes import append_log, sentence
from scaling.sweep.progress import Listener
from scaling.sweep.trainer import CohortTrainer
from scaling.sweep.trunks import Trunk
from scaling.sweep.worker import Worker, WorkerOptions


class CohortWorker(Worker):
    """Trains as many trunks of one shape together as the trainer asks for."""

    trainer: CohortTrainer

    def __init__(
        self,
        store: RunStore,
        trainer: CohortTrainer,
        options: WorkerOptions,
        listener: Listener,
        stop: Stop,
        claims: Claims,
    ):
        super().__init__(store, trainer, options, listener, stop, claims)
        self._alone: set[str] = set()

    def _attempt(self, trunk: Trunk, lease: Lease) -> bool:
        claimed = [(trunk, lease)]
        try:
            for companion in self._companions(trunk, lease):
                claimed.append(companion)
        except BaseException:
            # A companion's text may be what this machine cannot make; a claim that is left behind counts as a crash.
            with ExitStack() as releases:
                for _, held in claimed:
                    releases.callback(held.release, settled=False)
            raise
        return self._attempt_together(claimed) if len(claimed) > 1 else super()._attempt(trunk, lease)

    def _companions(self, trunk: Trunk, lease: Lease) -> Iterator[tuple[Trunk, Lease]]:
        """Claim more trunks of the same shape; none for one that failed or killed its worker before."""
        if not self._may_join(trunk, lease):
            return
        size, n_found = self.trainer.cohort_size(trunk.specs[0]), 0
        if self.options.max_trunks is not None:
            size = min(size, 1 + self.options.max_trunks - self._n_trunks)
        for other in self._trunks if size > 1 else ():
            if n_found + 1 == size:
                break
            if other.trunk_id != trunk.trunk_id and self._fits(trunk, other):
                claimed = self.claims.claim(other.trunk_id)
                if claimed is None:
                    continue
                if self._may_join(other, claimed) and self._missing(other):
                    n_found += 1
                    yield other, claimed
                else:
                    claimed.release(settled=False)
        self._n_trunks += n_found

    def _may_join(self, trunk: Trunk, lease: Lease) -> bool:
        return not (trunk.trunk_id in self._alone or lease.state.crashes or lease.state.failures)

    def _fits(self, trunk: Trunk, other: Trunk) -> bool:
        return bool(
            other.trunk_id not in self._alone
            and self.trainer.same_shape(trunk.specs[0], other.specs[0])
            and self._missing(other)
            and self._needs_ready(other)
            and self._prepare(other)
        )

    def _attempt_together(self, claimed: list[tuple[Trunk, Lease]]) -> bool:
        settled = False
        try:
            for trunk, lease in claimed:
                self._mend(trunk, lease)
            self._train_together(claimed)
            settled = True
        except Preempted:
            for trunk, lease in claimed:
                self._tell("released", trunk, message="taken over by another" if lease.lost else "state is saved")
        except Exception as error:
            obstacle = machine_error(error)
            # What does not fit in memory together may fit alone.
            if obstacle is not None and not isinstance(obstacle, OutOfMemory):
                raise obstacle from error
            self._separate(claimed, error)
        finally:
            for _, lease in claimed:
                lease.release(settled=settled)
        return settled

    def _train_together(self, claimed: list[tuple[Trunk, Lease]]) -> None:
        by_id = {trunk.trunk_id: (trunk, lease) for trunk, lease in claimed}

        def fence() -> None:
            for _, lease in claimed:
                lease.prove()

        with ExitStack() as ends:
            missing = [self._begin(trunk, lease) for trunk, lease in claimed]
            # The last to be entered is the first to be told of.
            for (trunk, lease), specs in reversed(list(zip(claimed, missing, strict=True))):
                ends.enter_context(self._telling_ends(trunk, lease, specs))
            self.trainer.train_together(
                [specs for specs in missing if specs],
                self.store.fenced(fence),
                progress=lambda step: self._on_step(*by_id[step.trunk_id], step),
                should_stop=lambda: self.stop() or any(lease.lost for _, lease in claimed),
            )

    def _separate(self, claimed: list[tuple[Trunk, Lease]], error: Exception) -> None:
        for trunk, _ in claimed:
            self._alone.add(trunk.trunk_id)
            self._tell(
                "retry", trunk, message=f"{len(claimed)} trunks together failed, now each alone: {sentence(error)}"
            )
            for spec in self._missing(trunk):
                append_log(self.store, spec.run_id, "".join(traceback.format_exception(error)))
