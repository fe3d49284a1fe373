"""A trained student as a generator of its world: its text, its exact distribution, and how far it is off.

Given all tokens before, a student's distribution is its softmax, so KL(p‖q) in a context is a sum over the vocabulary
without noise. Contexts cannot all be visited: a student looks at the whole sequence, not only at the cue or pair that
decides in the world. They are those of the world's evaluation sequences, whose keys or random numbers lie on a quantile
grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from scaling.data.batches import with_bos
from scaling.data.worlds import Divergence, Generator, open_generator
from scaling.data.worlds.unlabelled import infer_divergence
from scaling.errors import DataError
from scaling.records import RunRecord, RunStore
from scaling.spec import ModelSpec, NetworkDistill, RunSpec, WorldSource, teacher_run
from scaling.train.finished import finished_run, finished_student
from scaling.train.step import params_of, with_params
from scaling.train.student.decode import sample_sequences
from scaling.train.student.model import Student

MEASURED_ON = 4096
"""Sequences that the divergence is averaged over: 20,480 keys of W0."""
BLOCK = 1024
"""Sequences written at once: part of what a seed means."""
CHUNK = 64
"""Sequences scored at once; speed only."""


@dataclass(frozen=True)
class StudentGenerator:
    """A student of a world that generates the world's text.

    Attributes:
        source: What the student was to learn.
        student: It, with its weights.
    """

    source: WorldSource
    student: Student

    @property
    def world(self) -> Generator:
        """The real generator of the source."""
        return open_generator(self.source)

    @property
    def vocab_size(self) -> int:
        return self.world.vocab_size

    @property
    def bos(self) -> int:
        return self.world.bos

    @property
    def context(self) -> int:
        return self.world.context

    @property
    def scored(self) -> np.ndarray:
        return self.world.scored

    def block(self, seed: int, purpose: int, number: int) -> np.ndarray:
        """One block of independent sequences, each token drawn from the student's own distribution:
        int32[BLOCK, T]."""
        key = block_key(seed, purpose, number)
        tokens = sample_sequences(self.student, key, n_sequences=BLOCK, length=self.context, bos=self.bos)
        return np.asarray(tokens)

    def next_token_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Exact distribution of every token given all before it: int[n, T] to float64[n, T, V]."""
        score, params = log_probabilities(self.student.model), params_of(self.student)
        inputs = with_bos(np.asarray(sequences, np.int32), self.bos)
        probs = np.exp(np.asarray(score(params, inputs)).astype(np.float64))
        return probs / probs.sum(-1, keepdims=True)

    def divergence(self, n_sequences: int = MEASURED_ON) -> Divergence:
        """KL from the world, nats per scored token, over a fixed set of real sequences; ``se`` from their spread.

        Args:
            n_sequences: Of the set.
        """
        sequences = self.world.evaluation_sequences(n_sequences, seed=0)
        chunks = np.array_split(sequences, -(-n_sequences // CHUNK))
        return infer_divergence(self.source, self.next_token_probs, chunks)


def block_key(seed: int, purpose: int, number: int) -> jax.Array:
    """Of the random numbers behind one block of generated text."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed & 0xFFFFFFFF), purpose), number)


def open_student(spec: RunSpec, store: RunStore) -> StudentGenerator:
    """The student of a world that teaches a run.

    Raises:
        DataError: if it is not trained yet, or did not train to its end.
    """
    run = finished_teacher(spec, store).spec
    if not isinstance(run.data.source, WorldSource):
        raise DataError(f"teacher {run.run_id} was trained on text, not in a world; name it as a trained teacher")
    return StudentGenerator(run.data.source, finished_student(run, store, role="teacher"))


@lru_cache(maxsize=4)
def _network(run_id: str, root: str) -> Student:
    """One object a teacher, so that all its students share one program."""
    store = RunStore(root)
    return finished_student(store.load(run_id).spec, store, role="teacher")


def teacher_network(spec: RunSpec, store: RunStore) -> Student | None:
    """The network that a run's recipe looks into; None where it needs none.

    Raises:
        DataError: if it is not there, or did not train to its end.
    """
    if not isinstance(spec.recipe, NetworkDistill):
        return None
    return _network(finished_teacher(spec, store).spec.run_id, str(store.root))


def finished_teacher(spec: RunSpec, store: RunStore) -> RunRecord:
    """The record of the run that trained a run's teacher.

    Raises:
        DataError: if it is not there, or did not train to its end.
    """
    run = teacher_run(spec.data)
    if run is None:
        raise DataError(f"a {spec.data.teacher.kind} teacher is not trained by this project; open it by its kind")
    return finished_run(run, store, role="teacher")


Forward = Callable[[Student, jax.Array], jax.Array]
"""From a student and inputs int32[B, T] to its logits [B, T, V]."""


def as_trained(student: Student, inputs_BT: jax.Array) -> jax.Array:
    """The student's own forward pass."""
    return student(inputs_BT)


@lru_cache(maxsize=64)
def log_probabilities(model: ModelSpec, forward: Forward = as_trained) -> Callable[..., jax.Array]:
    """The program that gives ``ln f`` at every position of inputs int32[B, T], given parameters: float32[B, T, V]."""

    def score(params, inputs_BT):
        return jax.nn.log_softmax(forward(with_params(model, params), inputs_BT).astype(jnp.float32))

    return jax.jit(score)
