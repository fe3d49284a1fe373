"""Many trunks in one program: the step is mapped over a leading axis of states, batches and rates.

A small student leaves an accelerator idle between kernels; students of one shape (other seeds, learning rates,
teachers, volumes) fill it together. Each member keeps its own stream, branches, checkpoints and records, so it is what
it is alone up to the rounding of batched products: it may diverge, end or be resumed by itself, in a cohort or not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.accounting import training_bytes, training_flops
from scaling.errors import Preempted, TrainError
from scaling.records import RunRecord, RunStore
from scaling.spec import NetworkDistill, RunSpec
from scaling.train.clock import Meter
from scaling.train.launch import take_steps
from scaling.train.loop import BlockPace, train_trunk
from scaling.train.mesh import ONE_DEVICE, data_mesh
from scaling.train.runtime import accelerator_bytes, prepare_process
from scaling.train.step import Program, program_of
from scaling.train.trunk import Progress, Stretch, TrunkTraining, missing_runs

LARGEST = 64
"""Most trunks of a cohort where nothing else bounds it."""

FILLING_FLOPS = 2e11
"""Work of one step that keeps an accelerator busy for longer than it takes to launch: 1 – 2 ms at 10^14 FLOPs/s."""

MEMORY_SHARE = 0.5
"""Of the device's memory that a cohort's step may fill, by the forecast of :func:`training_bytes`."""


def shape_of(spec: RunSpec) -> object:
    """What trunks that can be trained together have in common: the same step; a network to look into is one's own."""
    return object() if isinstance(spec.recipe, NetworkDistill) else program_of(spec, cooldown=True)


def cohort_size(spec: RunSpec) -> int:
    """Trunks of this shape to be trained together on this machine: ``SCALING_COHORT`` if set, else by its device.

    One on a processor, where two to eight together were measured at 0.8 to 1.1 times the throughput of one after the
    other, and on several devices, which share a batch instead. On an accelerator as many as fill it, and fit half of
    its memory: on one H100, 64 students of width 32 read 51 times the tokens of one after the other. One too where the
    cooldown is trained for few bits: it then has another step than the trunk, and a cohort has one for all. And one
    where the recipe looks into a teacher's network, whose pass in every step fills the device by itself.

    Raises:
        TrainError: if ``SCALING_COHORT`` is not a number of trunks.
    """
    prepare_process()
    devices = jax.devices()
    if len(devices) > 1 or spec.optim.qat is not None or isinstance(spec.recipe, NetworkDistill):
        return 1
    if given := os.environ.get("SCALING_COHORT"):
        if not given.isdecimal() or int(given) < 1:
            raise TrainError(
                f"SCALING_COHORT is {given!r} — a number of trunks from 1 on is needed; set it, or unset it"
            )
        return int(given)
    if (limit := accelerator_bytes()) is None:
        return 1
    # Enough trunks to keep the device busy, as long as they fit its memory.
    filling = FILLING_FLOPS / training_flops(spec.model, spec.step_tokens)
    fitting = MEMORY_SHARE * limit / training_bytes(spec.model, spec.optim.batch_size).total
    return max(1, min(LARGEST, int(filling), int(fitting)))


def train_cohort(
    trunks: Sequence[Sequence[RunSpec]],
    store: RunStore,
    *,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_s: float = 30.0,
) -> list[list[RunRecord]]:
    """Train what is missing of several trunks of one shape together, and commit each run as soon as it is measured.

    Args:
        trunks: The runs of each trunk, as :func:`~scaling.train.loop.train_trunk` takes them.
        store: Where records, checkpoints and prepared text lie.
        progress: Called about twice a second for every trunk.
        should_stop: Asked as often; once true, all states are saved and Preempted raised.
        checkpoint_s: Seconds of training between checkpoints.

    Returns:
        The records of each trunk, in order.

    Raises:
        TrainError: if the trunks are not of one shape, or there are several devices.
        MachineError: if state cannot be written.
        DataError: if a source cannot be read.
        Preempted: after ``should_stop``.
    """
    prepare_process()
    _check(trunks)
    missing = [found for specs in trunks if (found := missing_runs(specs, store))]
    # A trunk that is left alone trains as it would have without a cohort.
    if len(missing) == 1:
        train_trunk(missing[0], store, progress=progress, should_stop=should_stop, checkpoint_s=checkpoint_s)
    elif missing:
        meter, prepared = Meter(), store.prepare()
        members = [
            _Member(TrunkTraining(specs, prepared, meter, mesh=ONE_DEVICE, progress=progress)) for specs in missing
        ]
        _Cohort(members, meter).train(should_stop or (lambda: False), checkpoint_s)
    return [[store.load(spec.run_id) for spec in specs] for specs in trunks]


def _check(trunks: Sequence[Sequence[RunSpec]]) -> None:
    if data_mesh().n_devices > 1:
        raise TrainError("a cohort is trained on one device; let one be seen, or train the trunks one after the other")
    if any(spec.optim.qat is not None for specs in trunks for spec in specs):
        raise TrainError("trunks with optim.qat were given as a cohort; train them one after the other")
    if len({id(shape_of(spec)) for specs in trunks for spec in specs}) > 1:
        raise TrainError("trunks of several shapes were given together; a cohort shares model, batch and optimizer")
    trunk_ids = [specs[0].trunk_id for specs in trunks]
    if len(set(trunk_ids)) < len(trunk_ids):
        raise TrainError("a trunk was given twice; give each once")


@dataclass
class _Member:
    """A trunk in its slot, and the stretch that it waits for; None once it has ended."""

    training: TrunkTraining
    stretch: Stretch | None = None

    def __post_init__(self) -> None:
        self._stretches = self.training.stretches()
        self.next()

    def next(self) -> None:
        """Go on to a stretch with steps to take; commits what is finished on the way."""
        while self.stretch is None or not self.stretch.left:
            self.stretch = next(self._stretches, None)
            if self.stretch is None:
                return


class _Cohort:
    """The members' states side by side; the slot of one that has ended stands still at rate 0."""

    def __init__(self, members: list[_Member], meter: Meter):
        self.members, self.meter = members, meter
        self.made = members[0].training.program
        self.step, self.probe = mapped(self.made)
        self.state: Any = None

    def train(self, should_stop: Callable[[], bool], checkpoint_s: float) -> None:
        pace, saved_at = BlockPace(), time.monotonic()
        self._gather()
        while active := self._active():
            # As many steps as the shortest stretch has left: all members stay side by side.
            count = min(pace.steps, *(stretch.left for _, stretch in active))
            begun = time.monotonic()
            self._train_block(count)
            took = time.monotonic() - begun
            reading = self.meter.read()
            took = max(took - reading.compile_s, 1e-9)
            pace.learn(count, took)
            for member, stretch in active:
                member.training.clock.charge(reading, share=1 / len(active))
                member.training.look_up(stretch, count, took / len(active))
            stop, due = should_stop(), time.monotonic() - saved_at > checkpoint_s
            # Members need their own states to be saved, or where one of them goes on to another stretch.
            if stop or due or any(not stretch.left for _, stretch in active):
                self._scatter()
                if stop or due:
                    for member, _ in active:
                        member.training.save()
                    saved_at = time.monotonic()
                if stop:
                    raise Preempted(f"a cohort of {len(active)} trunks stopped; their states are saved")
                for member, _ in active:
                    member.next()
                self._gather()

    def _active(self) -> list[tuple[_Member, Stretch]]:
        return [(member, member.stretch) for member in self.members if member.stretch is not None]

    def _train_block(self, count: int) -> None:
        read = [
            None if member.stretch is None else self._batches(member, member.stretch, count) for member in self.members
        ]
        # The text of one that has ended may be shorter than what the others still read.
        still = tuple(np.zeros_like(part) for part in next(filter(None, read)))
        batches = [still if own is None else own for own in read]
        side_by_side = tuple(np.stack(parts, axis=1) for parts in zip(*batches, strict=True))
        probed = [[] if member.stretch is None else member.stretch.probed(count) for member in self.members]
        marks = sorted({step for steps in probed for step in steps})
        self.state, logs, probes = take_steps(self.step, self.probe, self.state, side_by_side, marks, ONE_DEVICE)
        for slot, (member, steps) in enumerate(zip(self.members, probed, strict=True)):
            if member.stretch is not None:
                own = jax.tree.map(lambda log, slot=slot: log[:, slot], logs)
                member.stretch.line.extend(own, _of_slot([probes[marks.index(step)] for step in steps], slot))

    @staticmethod
    def _batches(member: _Member, stretch: Stretch, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, targets and rates of the next steps."""
        start = stretch.line.step
        read = member.training.stream.batches(start, count)
        return read.inputs, read.targets, stretch.rates(stretch.spec, start, start + count)

    def _gather(self) -> None:
        """Take the members' states into one; a slot that has ended keeps whatever state it has."""
        lines = [member.training.trunk if member.stretch is None else member.stretch.line for member in self.members]
        self.state = _stacked([line.state for line in lines])

    def _scatter(self) -> None:
        """Give the members their states back."""
        for slot, member in enumerate(self.members):
            if member.stretch is not None:
                member.stretch.line.state = _of_slot(self.state, slot)


@lru_cache(maxsize=64)
def mapped(made: Program) -> tuple[Callable, Callable]:
    """The step and the probe of one trunk, over a leading axis of all that differs."""
    return jax.jit(jax.vmap(made.step), donate_argnums=0), jax.jit(jax.vmap(made.probe))


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _of_slot(tree: Any, slot: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[slot], tree)
