"""Who writes text in W0: the world itself, and teachers that know it more or less well, with exact divergences.

Most teachers answer by another distribution than the world's while their cues stay true. *Noise* takes the same share
from every key; *coverage* knows the frequent keys perfectly and nothing of the others; *temperature* sharpens or
flattens every distribution; *stale* knows what a finite sample told it. *Shift* answers truly, but of other keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from scaling.data.counter import random_at
from scaling.data.worlds.generator import BLOCK, Divergence, from_blocks, kl_divergence, split_divergence
from scaling.data.worlds.w0_facts import (
    BASE,
    BOS,
    N_ANSWERS,
    N_CUES,
    N_KEYS,
    RECORD,
    SMOOTHING,
    VOCAB,
    WEIGHTS,
    Answers,
    Facts,
    answer_probs,
)
from scaling.data.worlds.world import no_generator
from scaling.spec import (
    CoverageTeacher,
    NoiseTeacher,
    RealTeacher,
    ShiftTeacher,
    StaleTeacher,
    Teacher,
    TemperatureTeacher,
)

POWERS = BASE ** np.arange(N_CUES - 1, -1, -1)


class Knowledge(Protocol):
    """What a generator believes the answers are."""

    def answers(self, world: Facts, keys: np.ndarray) -> Answers:
        """Its answer distributions of some keys, int[n]."""
        ...

    def divergence(self, world: Facts) -> Divergence:
        """Exact ``Σ_k P(k)·KL(π_k‖q_k)``, per answer token."""
        ...

    def worth(self, world: Facts) -> float:
        """Nats of which half, lost on a key, say that it was never learned; less than that is noise."""
        ...


@dataclass(frozen=True)
class Ranges:
    """Right about which symbols a key favours, with weights that depend on the range of its rank.

    Attributes:
        weights: float64[n_ranges, 4], mass on the favoured symbols; the rest is uniform over all 32.
        bounds: First key rank of the second range, of the third, …
    """

    weights: np.ndarray
    bounds: tuple[int, ...] = ()

    def answers(self, world: Facts, keys: np.ndarray) -> Answers:
        level = np.searchsorted(self.bounds, keys, side="right")
        return Answers(world.support(keys), self.weights[level][:, None, :])

    def divergence(self, world: Facts) -> Divergence:
        kl = kl_divergence(answer_probs()[None], self.probs)
        return split_divergence(self.chances(world), kl, self.worth(world))

    def worth(self, world: Facts) -> float:
        return world.answer_gain

    @property
    def probs(self) -> np.ndarray:
        """Its distribution of an answer in each range, favoured symbols first: float64[n_ranges, 32]."""
        rest = (1 - self.weights.sum(-1, keepdims=True)) / BASE
        return rest + np.pad(self.weights, [(0, 0), (0, BASE - len(WEIGHTS))])

    def chances(self, world: Facts) -> np.ndarray:
        """How often the world asks for a key of each range: float64[n_ranges]."""
        edges = np.minimum([0, *self.bounds, N_KEYS], N_KEYS)
        return np.array([world.key_probs[a:b].sum() for a, b in zip(edges, edges[1:], strict=False)])


@dataclass(frozen=True)
class Counts:
    """The answers of a finite sample, each distribution smoothed by one uniform observation; unseen keys are uniform.

    Attributes:
        keys: int64[n_seen], ascending.
        counts: uint32[n_seen, 4, 32].
    """

    keys: np.ndarray
    counts: np.ndarray

    def answers(self, world: Facts, keys: np.ndarray) -> Answers:
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        seen = (self.keys[place] == keys)[:, None, None]
        weights = (np.where(seen, self.counts[place], 0) + 1 / BASE).astype(np.float64)
        weights /= weights.sum(-1, keepdims=True)
        return Answers(np.broadcast_to(np.arange(BASE, dtype=np.uint8), weights.shape), weights)

    def divergence(self, world: Facts) -> Divergence:
        true = Ranges(_true_weights()[None])
        parts = []
        for keys in np.array_split(self.keys, -(-len(self.keys) // 4096)):
            kl = kl_divergence(true.answers(world, keys).dense(), self.answers(world, keys).dense())
            mass = np.repeat(world.key_probs[keys, None], N_ANSWERS, axis=1) / N_ANSWERS
            parts.append(split_divergence(mass, kl, self.worth(world)))
        unseen = float(1 - world.key_probs[self.keys].sum())
        return Divergence(
            coverage=sum(part.coverage for part in parts) + unseen * world.answer_gain,
            noise=sum(part.noise for part in parts),
        )

    def worth(self, world: Facts) -> float:
        # A count errs where its sample was thin, on keys that its students come to last: none of it is everywhere.
        return 0.0


@dataclass(frozen=True)
class W0Generator:
    """A generator of W0's text: what is asked how often, and what is believed of it.

    Attributes:
        world: Whose keys and facts it tells.
        knowledge: Its answers.
        key_temperature: It asks for keys by ``P(k)^(1/key_temperature)``, normalised.
    """

    world: Facts
    knowledge: Knowledge
    key_temperature: float = 1.0

    vocab_size = VOCAB
    bos = BOS

    @property
    def context(self) -> int:
        return self.world.context

    @property
    def scored(self) -> np.ndarray:
        return np.tile(np.arange(RECORD) >= N_CUES, self.world.n_records)

    @cached_property
    def key_probs(self) -> np.ndarray:
        """How often it asks for each key: float64[N_KEYS]."""
        mass = self.world.key_probs ** (1 / self.key_temperature)
        return mass / mass.sum()

    @cached_property
    def key_cdf(self) -> np.ndarray:
        """Probability of a key of rank k or lower: float64[N_KEYS]."""
        return np.cumsum(self.key_probs)

    def sequences(self, seed: int, start: int, count: int) -> np.ndarray:
        """Sequences ``start … start+count`` of the endless sample with this seed: int32[count, T], without BOS.

        Generators with one seed share their random numbers: the keys are the same, and an answer differs only where the
        distributions do.
        """
        return from_blocks(lambda number: self._block(seed, number), start, count)

    def evaluation_sequences(self, count: int, seed: int) -> np.ndarray:
        """A fixed set whose keys lie on the quantile grid ``cdf⁻¹((i + ½)/n)``, in shuffled order: int32[count, T]."""
        rng = random_at(seed, "w0 evaluation")
        n = count * self.world.n_records
        keys = self._keys_at(rng.permutation((np.arange(n) + 0.5) / n))
        return self._write(keys, rng.random((n, N_ANSWERS, 2)))

    def next_token_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Exact distribution of every token given all before it: int[n, T] to float64[n, T, V]."""
        records = np.asarray(sequences).reshape(-1, RECORD)
        keys = records[:, :N_CUES] @ POWERS
        out = np.zeros((len(keys), RECORD, VOCAB))
        out[:, :N_CUES, :BASE] = self._cue_probs(keys)
        out[:, N_CUES:, BASE : 2 * BASE] = self.knowledge.answers(self.world, keys).dense()
        return out.reshape(*np.shape(sequences), VOCAB)

    def gain(self, sequences: np.ndarray) -> np.ndarray:
        """What knowing an answer's key counts as worth, the same for all; cues are not counted: float64[n, T]."""
        return np.broadcast_to(np.where(self.scored, self.knowledge.worth(self.world), 0.0), np.shape(sequences))

    def divergence(self) -> Divergence:
        """Exact KL of its answers from the world's, per answer token."""
        return self.knowledge.divergence(self.world)

    def _block(self, seed: int, block: int) -> np.ndarray:
        rng = random_at(seed, "w0 sample", block)
        n = BLOCK * self.world.n_records
        uniform = rng.random((n, 1 + 2 * N_ANSWERS))
        return self._write(self._keys_at(uniform[:, 0]), uniform[:, 1:].reshape(n, N_ANSWERS, 2))

    def _keys_at(self, quantiles: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self.key_cdf, quantiles, side="right"), N_KEYS - 1)

    def _write(self, keys: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        tokens = np.empty((len(keys), RECORD), np.int32)
        tokens[:, :N_CUES] = keys[:, None] // POWERS % BASE
        tokens[:, N_CUES:] = BASE + self.knowledge.answers(self.world, keys).draw(uniform)
        return tokens.reshape(-1, self.context)

    def _cue_probs(self, keys: np.ndarray) -> np.ndarray:
        """P(next digit | digits so far): float64[n, 4, 32], from sums of P over blocks of ranks."""
        parts = []
        for digit in range(N_CUES):
            mass = self.key_probs.reshape(-1, BASE, BASE ** (N_CUES - 1 - digit)).sum(-1)
            parts.append((mass / mass.sum(-1, keepdims=True))[keys // BASE ** (N_CUES - digit)])
        return np.stack(parts, axis=1)


def key_temperature(teacher: Teacher) -> float:
    """How a teacher asks for keys: by ``P(k)^(1/key_temperature)``, normalised."""
    return teacher.temperature if isinstance(teacher, ShiftTeacher) else 1.0


def knowledge(world: Facts, teacher: Teacher) -> Knowledge:
    """What a teacher believes the answers are.

    Raises:
        DataError: if this world has no such teacher.
    """
    true = _true_weights()
    match teacher:
        case RealTeacher() | ShiftTeacher():
            return Ranges(true[None])
        case NoiseTeacher():
            return Ranges((1 - teacher.rate) * true[None])
        case CoverageTeacher():
            return Ranges(np.stack([true, np.zeros_like(true)]), bounds=(teacher.top_keys,))
        case TemperatureTeacher():
            powered = answer_probs() ** (1 / teacher.temperature)
            q = powered / powered.sum()
            return Ranges((q - q[-1])[None, : len(WEIGHTS)])
        case StaleTeacher():
            return _count(world, teacher.n_records, teacher.seed)
    raise no_generator("W0", teacher)


def _count(world: Facts, n_records: int, seed: int) -> Counts:
    """Answers of a sample of records, drawn in pieces so that only the counts are held."""
    truth, tallies = Ranges(_true_weights()[None]), []
    for piece, start in enumerate(range(0, n_records, 1 << 16)):
        rng, n = random_at(seed, "w0 stale", piece), min(1 << 16, n_records - start)
        keys = np.minimum(np.searchsorted(np.cumsum(world.key_probs), rng.random(n), side="right"), N_KEYS - 1)
        symbols = truth.answers(world, keys).draw(rng.random((n, N_ANSWERS, 2)))
        cells = (keys[:, None] * N_ANSWERS + np.arange(N_ANSWERS)) * BASE + symbols
        tallies.append(np.unique(cells, return_counts=True))
    cells = np.concatenate([found for found, _ in tallies])
    keys = np.unique(cells // (N_ANSWERS * BASE))
    counts = np.zeros((len(keys), N_ANSWERS * BASE), np.uint32)
    rows = np.searchsorted(keys, cells // (N_ANSWERS * BASE))
    np.add.at(counts, (rows, cells % (N_ANSWERS * BASE)), np.concatenate([n for _, n in tallies]).astype(np.uint32))
    return Counts(keys, counts.reshape(-1, N_ANSWERS, BASE))


def _true_weights() -> np.ndarray:
    return (1 - SMOOTHING) * WEIGHTS
