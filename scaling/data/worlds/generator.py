"""What generates the text of a world, real or a teacher's, and how far two generators are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

BLOCK = 256
"""Sequences made at once: a unit of speed, and part of what a seed means."""


def from_blocks(block: Callable[[int], np.ndarray], start: int, count: int) -> np.ndarray:
    """Sequences ``start … start+count`` of an endless list, int32[count, T], given its blocks by their number."""
    first, last = start // BLOCK, -(-(start + count) // BLOCK)
    return np.concatenate([block(number) for number in range(first, last)])[start - first * BLOCK :][:count]


class Generator(Protocol):
    """A distribution over sequences of a world: the real one, or a teacher's."""

    @property
    def vocab_size(self) -> int:
        """V, tokens of the text and a beginning of sequence."""
        ...

    @property
    def bos(self) -> int:
        """What the first token of every sequence is predicted from."""
        ...

    @property
    def context(self) -> int:
        """T, tokens of one sequence without BOS."""
        ...

    @property
    def scored(self) -> np.ndarray:
        """Which positions count in the loss: bool[T]."""
        ...

    def sequences(self, seed: int, start: int, count: int) -> np.ndarray:
        """Sequences ``start … start+count`` of the endless sample with this seed: int32[count, T], without BOS."""
        ...

    def evaluation_sequences(self, count: int, seed: int) -> np.ndarray:
        """A fixed set that covers the distribution evenly rather than by chance: int32[count, T]."""
        ...

    def next_token_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Exact distribution of every token given all before it: int[n, T] to float64[n, T, V]."""
        ...

    def gain(self, sequences: np.ndarray) -> np.ndarray:
        """What knowing each context is worth, KL of its distribution from the next shorter context's: float64[n, T],
        nats.

        Infinite for a teacher of whose errors it is known that none is a gap, 0 for one whose errors are all gaps.
        """
        ...

    def divergence(self) -> Divergence:
        """Exact KL of this generator from its world's own."""
        ...


@dataclass(frozen=True)
class Divergence:
    """KL(p‖q) of a teacher q from its world p, nats per scored token, split by what kind of error causes it.

    Attributes:
        coverage: from contexts that the teacher never learned: there KL is at least half of what knowing is worth. Of a
            teacher whose errors lie in rare contexts alone it is all.
        noise: from all others.
        se: standard error of the total where it is averaged over a set of sequences; 0 where it is a sum over all.
    """

    coverage: float
    noise: float
    se: float = 0.0

    @property
    def total(self) -> float:
        return self.coverage + self.noise


def split_divergence(mass: np.ndarray, kl: np.ndarray, gain: np.ndarray | float) -> Divergence:
    """Weigh divergences of single contexts and sort them into coverage and noise.

    Args:
        mass: float64[n], weight of each context; sums to 1 for a mean.
        kl: float64[n], KL(p‖q) in it, nats.
        gain: float64[n] or one for all, what knowing it is worth, nats.
    """
    never_learned = kl >= np.asarray(gain) / 2
    return Divergence(
        coverage=float((mass * kl * never_learned).sum()), noise=float((mass * kl * ~never_learned).sum())
    )


def averaged_divergence(real: Generator, teacher: Generator, count: int = 4096) -> Divergence:
    """KL(p‖q) averaged over a fixed set of real sequences, for teachers of which no sum over all contexts is known.

    Args:
        real: p, the world.
        teacher: q.
        count: Sequences of the set.

    Returns:
        The divergence with ``se``, from the spread over sequences; it says too much rather than too little, as the set
        covers the world more evenly than chance.
    """
    scored, parts, per_sequence = real.scored, [], []
    for sequences in np.array_split(real.evaluation_sequences(count, seed=0), -(-count // 64)):
        p, q = (one.next_token_probs(sequences)[:, scored] for one in (real, teacher))
        kl = kl_divergence(p, q)
        mass = np.full(kl.shape, 1 / (count * scored.sum()))
        parts.append(split_divergence(mass, kl, teacher.gain(sequences)[:, scored]))
        per_sequence.append(kl.mean(1))
    return Divergence(
        coverage=sum(part.coverage for part in parts),
        noise=sum(part.noise for part in parts),
        se=float(np.concatenate(per_sequence).std(ddof=1) / count**0.5),
    )


def kl_divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``Σ_x p·ln(p/q)`` over the last axis; 0 where p is 0, never below 0."""
    held = p > 0
    ratio = np.where(held, p, 1.0) / np.where(held, q, 1.0)
    return np.maximum((p * np.log(ratio)).sum(-1), 0.0)
