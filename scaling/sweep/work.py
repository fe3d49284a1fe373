"""Work on a sweep from this process, as one worker among any number."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.records import RunStore
from scaling.stop import Stop
from scaling.sweep.cohorts import CohortWorker
from scaling.sweep.lease import Claims
from scaling.sweep.progress import Listener
from scaling.sweep.trainer import CohortTrainer, Trainer
from scaling.sweep.trunk_trainer import TrunkTrainer
from scaling.sweep.trunks import Trunk
from scaling.sweep.worker import Worker, WorkerOptions, WorkerReport, worker_name


def work(
    trunks: Sequence[Trunk],
    store: RunStore,
    *,
    trainer: Trainer | None = None,
    options: WorkerOptions | None = None,
    progress: Listener | None = None,
    stop: Stop | None = None,
    claims: Claims | None = None,
) -> WorkerReport:
    """Train what is left of a sweep until nothing is, together with whoever else works on it.

    Args:
        trunks: All trunks, teachers before their students.
        store: The results folder.
        trainer: What trains a trunk; by default the framework's own.
        options: How to behave.
        progress: Called with every event.
        stop: Says when to stop; the trunk in progress saves its state first.
        claims: By default under ``claims/`` of the results folder.
    """
    store.prepare()
    options = options or WorkerOptions()
    claims = claims or Claims(store.root / "claims", worker_name(), stale_after_s=options.stale_after_s)
    trainer = trainer or TrunkTrainer()
    progress, stop = progress or (lambda event: None), stop or Stop()
    # A trainer that can train several trunks at once is asked how many; any other gets one after the other.
    if isinstance(trainer, CohortTrainer):
        return CohortWorker(store, trainer, options, progress, stop, claims).walk(trunks)
    return Worker(store, trainer, options, progress, stop, claims).walk(trunks)
