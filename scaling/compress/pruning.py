"""A run's student with parts left out: its training stream tells which matter least, and heals it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from scaling.accounting import forward_flops, training_flops
from scaling.compress.heal import heal
from scaling.compress.importance import block_influence, head_importance, neuron_importance
from scaling.compress.prune import keep_heads, keep_layers, keep_neurons
from scaling.compress.sparse import Sparsity, masks
from scaling.data.batches import Stream, open_stream
from scaling.dimensions import Dimensions
from scaling.errors import DataError, SpecError
from scaling.records import RunStore
from scaling.registry import did_you_mean
from scaling.spec import RunSpec
from scaling.teach.teachers import prepare
from scaling.train.checkpoint import load_student
from scaling.train.step import params_of, with_params
from scaling.train.student.model import Student

SEEN_STEPS = 32
"""Steps of the training stream that are asked what matters, and that healing reads ahead, at most."""

WEIGHTS = "weights"


class Pruning:
    """One trained student, what is left out of it, and the text that heals it.

    Args:
        run: That trained it.
        store: Where it lies.

    Raises:
        TrainError: the student cannot be read.
    """

    def __init__(self, run: RunSpec, store: RunStore):
        self.run, self._store = run, store
        self.student = load_student(store.student_dir(run.run_id), run.model)

    @cached_property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, int32[B, T] each, of the beginning of the training stream."""
        read = open_stream(self.run, self._store).batches(0, min(SEEN_STEPS, self.run.steps))
        # What is told beside the tokens is for a recipe.
        targets = read.targets["token"] if read.targets.dtype.names else read.targets
        inputs, targets = (part.reshape(-1, self.run.model.context) for part in (read.inputs, targets))
        return inputs, targets

    def cut(self, kept: Mapping[str, float]) -> Student:
        """The student with so much left of each part, in the order of the parts.

        Args:
            kept: Key–value ``heads`` and ``neurons`` of each layer, ``layers``, or a share of the blocks' ``weights``.

        Raises:
            SpecError: a part is not known, no student has so many, or nothing would be left out.
        """
        student = self.student
        for part, value in kept.items():
            if part not in PARTS:
                raise SpecError(f"--prune: got {part!r}, which is no part{did_you_mean(part, PARTS)}")
            student = PARTS[part](student, self.seen, value)
        return student

    def healed(self, cut: Student, tokens: int, *, zeros: float = 0.0, **how) -> Student:
        """A student that was cut, after it has learned from the whole one on text that neither has read.

        Args:
            cut: What is left.
            tokens: To read; of a teacher's text what is missing is written first.
            zeros: Share of the blocks' weights that stay zero, those of least magnitude.
            **how: As of :func:`~scaling.compress.heal.heal`.

        Raises:
            DataError: the teacher has to write more, and cannot.
        """
        if zeros:
            how = {"sparsity": Sparsity(zeros=zeros)} | how
        steps = max(1, round(tokens / self.run.step_tokens))
        return heal(cut, self.student, self._fresh(steps), optim=self.run.optim, steps=steps, **how)

    def _fresh(self, steps: int) -> Iterator[np.ndarray]:
        """Inputs of the steps behind those that the run has read."""
        first, stop = self.run.steps, self.run.steps + steps
        stream = _reaching(self.run, stop, self._store)
        for step in range(first, stop, SEEN_STEPS):
            yield from stream.batches(step, min(SEEN_STEPS, stop - step)).inputs


def _reaching(run: RunSpec, steps: int, store: RunStore) -> Stream:
    """The training stream of a run, with at least so many steps: a teacher writes no more than its students read."""
    stream = open_stream(run, store)
    try:
        stream.sequences.require(steps * stream.batch_size)
    except DataError:
        prepare([run.model_copy(update={"tokens": steps * run.step_tokens})], store)
        return open_stream(run, store)
    return stream


def healing_flops(whole: Dimensions, left: Dimensions, tokens: float) -> float:
    """FLOPs of a healing: each step trains what is left, and reads the whole student once."""
    return training_flops(left, 1) * tokens + forward_flops(whole) * tokens


def tokens_for(model: Dimensions, flops: float) -> float:
    """D that a student trained from nothing reads for some FLOPs."""
    return flops / training_flops(model, 1)


Seen = tuple[np.ndarray, np.ndarray]


def _heads(student: Student, seen: Seen, kept: float) -> Student:
    return keep_heads(student, head_importance(student, *seen), _whole("heads", kept))


def _neurons(student: Student, seen: Seen, kept: float) -> Student:
    return keep_neurons(student, neuron_importance(student, seen[0]), _whole("neurons", kept))


def _layers(student: Student, seen: Seen, kept: float) -> Student:
    return keep_layers(student, block_influence(student, seen[0]), _whole("layers", kept))


def _weights(student: Student, seen: Seen, kept: float) -> Student:
    if not 0 < kept < 1:
        raise SpecError(f"weights={kept:g} cannot be kept — a share between 0 and 1 can, as 0.5")
    params = params_of(student)
    stay = masks(jax.tree.map(jnp.abs, params), 1 - kept)
    if all(mask.all() for mask in jax.tree.leaves(stay)):
        raise SpecError(f"--prune: got weights={kept}, which leaves nothing out of a student so small — keep fewer")
    return with_params(student.model, jax.tree.map(jnp.multiply, params, stay))


def _whole(part: str, kept: float) -> int:
    if not float(kept).is_integer():
        raise SpecError(f"{part}={kept:g} cannot be kept — a whole number can")
    return int(kept)


PARTS: dict[str, Callable[[Student, Seen, float], Student]] = {
    "heads": _heads,
    "neurons": _neurons,
    "layers": _layers,
    WEIGHTS: _weights,
}
"""What can be left out, in words of the command line, and how."""
