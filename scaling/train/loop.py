"""Training of a trunk: steps in blocks of half a second, between them a look at the clock and at who asks to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import jax

from scaling.errors import Preempted
from scaling.records import RunRecord, RunStore
from scaling.spec import RunSpec
from scaling.train.clock import Meter
from scaling.train.launch import take_steps
from scaling.train.mesh import data_mesh
from scaling.train.runtime import prepare_process
from scaling.train.trunk import Progress, Stretch, TrunkTraining, missing_runs

BLOCK_S = 0.5
"""Seconds of training between two looks at the loss, the clock, and whether to stop."""


class BlockPace:
    """How many steps fit between two looks: grows from one, so that the first look comes early."""

    def __init__(self) -> None:
        self.steps = 1

    def learn(self, steps: int, seconds: float) -> None:
        """Take notice of a block's time, compiling left out."""
        self.steps = max(1, min(2 * self.steps, int(steps * BLOCK_S / max(seconds, 1e-6))))


def train_trunk(
    specs: Sequence[RunSpec],
    store: RunStore,
    *,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_s: float = 30.0,
) -> list[RunRecord]:
    """Train what is missing of a trunk's runs, and commit each as soon as it is measured.

    A training that was stopped or killed goes on from its last checkpoint; the result does not depend on it. It uses
    all devices; where several processes were joined (``mesh.join_processes``), all of them call this with the same
    specs, and the leading one writes.

    Args:
        specs: Runs of one trunk (they differ in ``tokens`` alone); those in the store are not trained again.
        store: Where records, checkpoints and prepared text lie.
        progress: Called about twice a second.
        should_stop: Asked as often; once true, the state is saved and Preempted raised.
        checkpoint_s: Seconds of training between checkpoints.

    Returns:
        The records, in order of ``specs``.

    Raises:
        TrainError: if the specs are of several trunks, or a batch cannot be shared by the devices.
        MachineError: if state cannot be written.
        DataError: if the source cannot be read.
        Preempted: after ``should_stop``.
    """
    prepare_process()
    mesh = data_mesh()
    # The leading process looks at the store for all: others may see a shared folder later than it does.
    missing = mesh.broadcast(missing_runs(specs, store))
    if missing:
        training = TrunkTraining(missing, store.prepare(), Meter(), mesh=mesh, progress=progress)
        with mesh.led():
            _train_alone(training, should_stop or (lambda: False), checkpoint_s)
    return mesh.broadcast([store.load(spec.run_id) for spec in specs] if mesh.leads else None)


def _train_alone(training: TrunkTraining, should_stop: Callable[[], bool], checkpoint_s: float) -> None:
    pace, mesh = BlockPace(), training.mesh
    for stretch in training.stretches():
        while stretch.left:
            count = mesh.broadcast(min(pace.steps, stretch.left))
            begun = time.monotonic()
            _train_block(training, stretch, count)
            took = time.monotonic() - begun
            reading = training.meter.read()
            training.clock.charge(reading)
            pace.learn(count, took - reading.compile_s)
            training.look_up(stretch, count, max(took - reading.compile_s, 1e-9))
            if mesh.leads and should_stop():
                training.save()
                raise Preempted(training.stopped_at(stretch.spec))
            if mesh.leads and time.monotonic() - training.saved_at > checkpoint_s:
                training.save()


def _train_block(training: TrunkTraining, stretch: Stretch, count: int) -> None:
    line, made = stretch.line, stretch.program
    read = training.stream.batches(line.step, count)
    batches = read.inputs, read.targets, stretch.rates(stretch.spec, line.step, line.step + count)
    line.state, logs, probes = take_steps(
        made.step, made.probe, line.state, batches, stretch.probed(count), training.mesh
    )
    line.extend(jax.tree.map(lambda log: log[:, 0], logs), probes)
