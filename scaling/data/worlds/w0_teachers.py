"""Who writes text in W0: the world itself, and teachers that know it more or less well, with exact divergences.

A teacher answers by another law than the world's; its cues stay true. What sets it apart is one table: the weights it
puts on a key's favoured symbols, in ranges of key rank. *Noise* takes the same share from every key; *coverage* knows
the frequent keys perfectly and nothing of the others; *temperature* sharpens or flattens every law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.counter import generator
from scaling.data.worlds.w0 import (
    BASE,
    BLOCK,
    BOS,
    N_ANSWERS,
    N_CUES,
    N_KEYS,
    RECORD,
    SMOOTHING,
    VOCAB,
    WEIGHTS,
    Answers,
    World,
    answer_law,
)
from scaling.spec import Teacher

POWERS = BASE ** np.arange(N_CUES - 1, -1, -1)


@dataclass(frozen=True)
class Divergence:
    """KL(p‖q) of a teacher q from its world p, nats per scored token, split by what kind of error causes it.

    Attributes:
        coverage: from contexts that the teacher never learned: there KL is at least half of what knowing is worth.
        noise: from all others.
    """

    coverage: float
    noise: float

    @property
    def total(self) -> float:
        return self.coverage + self.noise


@dataclass(frozen=True)
class Language:
    """A distribution over sequences of a W0: the real one, or a teacher's.

    Attributes:
        world: Whose facts it speaks of.
        weights: float64[n_ranges, 4], mass on a key's favoured symbols; the rest is uniform over all 32.
        bounds: First key rank of the second range, of the third, …
    """

    world: World
    weights: np.ndarray
    bounds: tuple[int, ...] = ()

    vocab_size = VOCAB
    bos = BOS

    @property
    def context(self) -> int:
        return self.world.context

    def answers(self, keys: np.ndarray) -> Answers:
        """The answer laws of some keys: int[n]."""
        level = np.searchsorted(self.bounds, keys, side="right")
        return Answers(self.world.support(keys), self.weights[level][:, None, :])

    def sequences(self, seed: int, start: int, count: int) -> np.ndarray:
        """Sequences ``start … start+count`` of the endless sample with this seed: int32[count, T], without BOS.

        Teachers with one seed share their random numbers: the keys are the same, and an answer differs only where the
        laws do.
        """
        first, last = start // BLOCK, -(-(start + count) // BLOCK)
        blocks = [self._block(seed, block) for block in range(first, last)]
        return np.concatenate(blocks)[start - first * BLOCK :][:count]

    def evaluation_sequences(self, count: int, seed: int) -> np.ndarray:
        """A fixed set whose keys lie on the quantile grid ``cdf⁻¹((i + ½)/n)``, in shuffled order: int32[count, T]."""
        rng = generator(seed, "w0 evaluation")
        n = count * self.world.n_records
        keys = self._keys_at(rng.permutation((np.arange(n) + 0.5) / n))
        return self._write(keys, rng.random((n, N_ANSWERS, 2)))

    def next_token(self, sequences: np.ndarray) -> np.ndarray:
        """Exact law of every token given all before it: int[n, T] to float64[n, T, V]."""
        records = np.asarray(sequences).reshape(-1, RECORD)
        keys = records[:, :N_CUES] @ POWERS
        out = np.zeros((len(keys), RECORD, VOCAB))
        out[:, :N_CUES, :BASE] = self._cue_laws(keys)
        out[:, N_CUES:, BASE : 2 * BASE] = self.answers(keys).dense()
        return out.reshape(*np.shape(sequences), VOCAB)

    @property
    def scored(self) -> np.ndarray:
        """Which positions count in the loss, the answers: bool[T]."""
        return np.tile(np.arange(RECORD) >= N_CUES, self.world.n_records)

    def _block(self, seed: int, block: int) -> np.ndarray:
        rng = generator(seed, "w0 sample", block)
        n = BLOCK * self.world.n_records
        uniform = rng.random((n, 1 + 2 * N_ANSWERS))
        return self._write(self._keys_at(uniform[:, 0]), uniform[:, 1:].reshape(n, N_ANSWERS, 2))

    def _keys_at(self, quantiles: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self.world.key_cdf, quantiles, side="right"), N_KEYS - 1)

    def _write(self, keys: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        tokens = np.empty((len(keys), RECORD), np.int32)
        tokens[:, :N_CUES] = keys[:, None] // POWERS % BASE
        tokens[:, N_CUES:] = BASE + self.answers(keys).draw(uniform)
        return tokens.reshape(-1, self.context)

    def _cue_laws(self, keys: np.ndarray) -> np.ndarray:
        """P(next digit | digits so far): float64[n, 4, 32], from sums of P over blocks of ranks."""
        laws = []
        for digit in range(N_CUES):
            mass = self.world.key_probs.reshape(-1, BASE, BASE ** (N_CUES - 1 - digit)).sum(-1)
            laws.append((mass / mass.sum(-1, keepdims=True))[keys // BASE ** (N_CUES - digit)])
        return np.stack(laws, axis=1)


def language(world: World, teacher: Teacher) -> Language:
    """The language that a teacher speaks in a world; ``RealTeacher`` gives the world's own."""
    true = (1 - SMOOTHING) * WEIGHTS
    if teacher.kind == "noise":
        return Language(world, (1 - teacher.rate) * true[None])
    if teacher.kind == "coverage":
        return Language(world, np.stack([true, np.zeros_like(true)]), bounds=(teacher.top_keys,))
    if teacher.kind == "temperature":
        powered = answer_law() ** (1 / teacher.temperature)
        q = powered / powered.sum()
        return Language(world, (q - q[-1])[None, : len(WEIGHTS)])
    return Language(world, true[None])


def divergence(world: World, teacher: Teacher) -> Divergence:
    """Exact KL(p‖q) of a teacher, ``Σ_k P(k)·KL(π_k‖q_k)``, per answer token, split into coverage and noise."""
    q = language(world, teacher)
    edges = [0, *(min(bound, N_KEYS) for bound in q.bounds), N_KEYS]
    mass = np.array([world.key_probs[a:b].sum() for a, b in zip(edges, edges[1:], strict=False)])
    kl = np.array([_kl(answer_law(), _law(weights)) for weights in q.weights])
    never_learned = kl >= world.answer_gain / 2
    return Divergence(
        coverage=float((mass * kl)[never_learned].sum()),
        noise=float((mass * kl)[~never_learned].sum()),
    )


def _law(weights: np.ndarray) -> np.ndarray:
    q = np.full(BASE, (1 - weights.sum()) / BASE)
    q[: len(weights)] += weights
    return q


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    return max(0.0, float((p * np.log(p / q)).sum()))
