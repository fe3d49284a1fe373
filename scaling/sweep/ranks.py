"""A worker of several processes, one trunk at a time: the first is a worker like any other, the rest train along.

Only the leading process walks the plan, claims trunks and writes; the others wait to be told which trunk comes next.
An error that may have left the processes out of step ends them all, and the job may take another turn.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scaling.errors import EXIT_OK, ScalingError
from scaling.records import RunRecord, RunStore
from scaling.spec import RunSpec
from scaling.stop import stop_on_signals
from scaling.sweep.trainer import Step
from scaling.sweep.trunk_trainer import TrunkTrainer

if TYPE_CHECKING:
    from scaling.train.mesh import Rank

log = logging.getLogger("scaling")


def join() -> Rank:
    """Connect with the other processes of this worker, if the environment says that there are any.

    Raises:
        TrainError: if they cannot be reached.
    """
    from scaling.train.mesh import join_processes

    return join_processes()


@contextmanager
def lead(rank: Rank) -> Iterator[TrunkTrainer]:
    """What the leading process trains with; the others are sent home at the end of the block."""
    from scaling.train.mesh import data_mesh

    if rank.n_processes == 1:
        yield TrunkTrainer()
        return
    trainer = LeadingTrainer()
    try:
        yield trainer
    except ScalingError as error:
        if trainer.broken:
            _leave(error)
        raise
    finally:
        if not trainer.broken:
            data_mesh().broadcast(None)


def _leave(error: ScalingError) -> None:
    """End without jax's farewell, which would wait for a dead process and then abort."""
    log.error("another process of this worker was lost; %s", error)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.exit_code)


class LeadingTrainer(TrunkTrainer):
    """Trains a trunk on all processes.

    Attributes:
        broken: True after an error that the others may not have shared.
    """

    def __init__(self) -> None:
        self.broken = False

    def train(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        *,
        progress: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> list[RunRecord]:
        from scaling.train.mesh import data_mesh

        try:
            data_mesh().broadcast(list(specs))
            return super().train(specs, store, progress=progress, should_stop=should_stop)
        except ScalingError:
            raise
        except Exception:
            self.broken = True
            # As a scheduler would: the attempt is recorded, the claim released, and the process ends with 75.
            signal.raise_signal(signal.SIGTERM)
            raise


def follow(store: RunStore) -> int:
    """Train along until the leading process has no more trunks; gives the exit code.

    Signals to stop are left to the leading process, which gets them as well.
    """
    from scaling.train.loop import train_trunk
    from scaling.train.mesh import data_mesh

    mesh = data_mesh()
    with stop_on_signals():
        while True:
            try:
                specs = mesh.broadcast()
                if specs is None:
                    return EXIT_OK
                train_trunk(specs, store)
            except ScalingError as error:
                log.info("%s", error)
