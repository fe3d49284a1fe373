"""The facts of W0: which keys there are, how frequent, and what is answered to each.

Each answer token is drawn from a distribution of its own, ``π = (1−ε)·w + ε/32``: weights w = (.6, .2, .1, .1) on four
symbols that a hash of (seed, k, j) picks out of 32, and ε = .05 spread over all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.data.counter import hash64

BASE = 32
"""Cue symbols (tokens 0–31) and answer symbols (tokens 32–63)."""
N_CUES = 4
N_ANSWERS = 4
RECORD = N_CUES + N_ANSWERS
N_KEYS = BASE**N_CUES
BOS = 2 * BASE
VOCAB = BOS + 1
WEIGHTS = np.array([0.6, 0.2, 0.1, 0.1])
"""w, of the four symbols that a key's answer favours."""
SMOOTHING = 0.05
"""ε, spread evenly over all 32 symbols."""


@dataclass(frozen=True)
class Answers:
    """What the next answer may be: ``Σ_s weights_s·1[symbols_s] + (1 − Σ_s weights_s)/32``, one for each answer.

    Attributes:
        symbols: uint8[n, 4, S], distinct within the last axis.
        weights: float64[n, 4 or 1, S], nonnegative, sum at most 1.
    """

    symbols: np.ndarray
    weights: np.ndarray

    def dense(self) -> np.ndarray:
        """Probabilities of all 32 symbols: float64[n, 4, 32]."""
        weights = np.broadcast_to(self.weights, self.symbols.shape)
        rest = (1 - weights.sum(-1, keepdims=True)) / BASE
        out = np.repeat(np.maximum(rest, 0.0), BASE, axis=-1)
        np.put_along_axis(out, self.symbols.astype(np.intp), weights + rest, axis=-1)
        return out

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """Symbols drawn with two uniform numbers each: float64[n, 4, 2] in [0, 1) to uint8[n, 4].

        The first number decides whether a favoured symbol is meant, the second which one: distributions that
        differ only in how much is uniform then agree wherever both mean a favoured symbol.
        """
        edges = np.cumsum(np.broadcast_to(self.weights, self.symbols.shape), axis=-1)
        held, which = edges[..., -1], uniform[..., 1]
        slot = (which[..., None] * held[..., None] >= edges[..., :-1]).sum(-1)
        favoured = np.take_along_axis(self.symbols, slot[..., None], axis=-1)[..., 0]
        return np.where(uniform[..., 0] < held, favoured, (which * BASE).astype(np.uint8))


@dataclass(frozen=True)
class Facts:
    """The facts of one W0: which keys there are, how frequent, and which symbols each answer favours."""

    alpha: float = 0.5
    n_records: int = 5
    seed: int = 0

    @property
    def context(self) -> int:
        """T, tokens of one sequence without BOS."""
        return self.n_records * RECORD

    @cached_property
    def key_probs(self) -> np.ndarray:
        """P(k): float64[N_KEYS]."""
        mass = np.arange(1, N_KEYS + 1, dtype=np.float64) ** -(1 + self.alpha)
        return mass / mass.sum()

    def support(self, keys: np.ndarray) -> np.ndarray:
        """The four symbols that each answer of each key favours, heaviest first: int[n] to uint8[n, 4, 4]."""
        answers = keys[:, None].astype(np.uint64) * np.uint64(N_ANSWERS) + np.arange(N_ANSWERS, dtype=np.uint64)
        words = hash64(answers, self.seed)
        chosen = np.empty((*words.shape, 0), np.uint8)
        for i in range(len(WEIGHTS)):
            piece = (words >> np.uint64(16 * i)) & np.uint64(0xFFFF)
            pick = (piece * np.uint64(BASE - i) >> np.uint64(16)).astype(np.uint8)
            for taken in np.moveaxis(np.sort(chosen, axis=-1), -1, 0):
                pick += pick >= taken  # the pick counts free symbols only: step over the taken ones, in order
            chosen = np.concatenate([chosen, pick[..., None]], axis=-1)
        return chosen

    @property
    def answer_entropy(self) -> float:
        """H(answer | key) of every scored token, nats."""
        p = answer_probs()
        return float(-(p * np.log(p)).sum())

    @property
    def entropy(self) -> float:
        """Nats per scored token: that of an answer."""
        return self.answer_entropy

    @property
    def answer_gain(self) -> float:
        """What knowing a fact is worth, ``ln 32 − H(answer | key)``, nats an answer token."""
        return float(np.log(BASE) - self.answer_entropy)


def answer_probs() -> np.ndarray:
    """π of any answer in descending order of weight: float64[32] (four favoured symbols, then 28 equal ones)."""
    p = np.full(BASE, SMOOTHING / BASE)
    p[: len(WEIGHTS)] += (1 - SMOOTHING) * WEIGHTS
    return p
