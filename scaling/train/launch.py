"""Many steps in one launch: an accelerator waits for the next step of a small student longer than it works on one.

The steps between two probes of the gradient's noise are one program, a scan over their batches. Result and logs are
those of one step after the other, up to the rounding of another program.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from scaling.train.mesh import DataMesh
from scaling.train.noise import GradientNoise
from scaling.train.step import Step, StepLog, TrainState

TOGETHER = 10
"""Steps of a launch on an accelerator. By then the device is the slower (on one H100 eight of a student of width 32
read 5.5 times the tokens of one, 64 read 5.7 times), and between two probes there are whole launches alone."""

Batches = Sequence[np.ndarray]
Probe = Callable[[Any, Any, Any], GradientNoise]


def steps_together(mesh: DataMesh) -> int:
    """Steps of one launch: one on a processor, whose launches cost little beside its steps, and on several devices,
    which wait for each other in every step."""
    return TOGETHER if mesh.n_devices == 1 and jax.default_backend() != "cpu" else 1


def take_steps(
    step: Step, probe: Probe, state: TrainState, batches: Batches, probed: Collection[int], mesh: DataMesh
) -> tuple[TrainState, StepLog, list[GradientNoise]]:
    """Take some steps, and probe before some of them.

    Args:
        step: What takes one, of one trunk or of several side by side.
        probe: What looks at the gradient's noise in a batch.
        state: Before the first; it is used up.
        batches: Inputs, targets and rates; the leading axis of each is that of the steps.
        probed: The steps to be probed before they are taken, counted from the first.
        mesh: The devices.

    Returns:
        The state after the last, what each step reported of each trunk (float32[n_steps, n_trunks]), and the probes in
        order.
    """
    inputs, targets, rates = batches
    n_steps, together = len(rates), steps_together(mesh)
    marks = sorted(probed)
    logs, probes = [], []
    for start, stop in pairwise(sorted({0, *marks, n_steps})):
        if start in marks:
            probes.append(probe(state.params, mesh.shard(inputs[start]), mesh.shard(targets[start])))
        for part in _launches(start, stop, together):
            take = step if isinstance(part, int) else several(step)
            state, log = take(state, mesh.shard(inputs[part]), mesh.shard(targets[part]), rates[part])
            logs.append(log)
    # One look at the device for all of them: each would wait for the steps before it.
    logs, probes = jax.device_get((logs, probes))
    return state, jax.tree.map(lambda *parts: _rows(parts, n_steps), *logs), probes


def _rows(parts: Sequence[np.ndarray], n_steps: int) -> np.ndarray:
    """What launches reported, one row a step."""
    return np.concatenate([np.ravel(part) for part in parts]).reshape(n_steps, -1)


def _launches(start: int, stop: int, together: int) -> Iterator[int | slice]:
    """The steps of each launch; what does not fill one is taken step by step, for another length is another program."""
    whole = start if together == 1 else stop - (stop - start) % together
    yield from (slice(at, at + together) for at in range(start, whole, together))
    yield from range(whole, stop)


@lru_cache(maxsize=64)
def several(step: Step) -> Step:
    """As many steps as there are batches, logs side by side."""

    def steps(state: TrainState, inputs: Any, targets: Any, rates: Any) -> tuple[TrainState, StepLog]:
        return jax.lax.scan(lambda state, batch: step(state, *batch), state, (inputs, targets, rates))

    return jax.jit(steps, donate_argnums=0)
