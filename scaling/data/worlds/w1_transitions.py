"""The transitions of W1: which symbols follow every symbol and every pair, and how likely.

p1 is Zipf's law; P1 gives each b 32 successors drawn from p1, P2 gives each pair 8 successors drawn from half p1, half
P1(· | b), both weighted by 1/rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.data.counter import random_at

SHARES = np.array([0.1, 0.3, 0.6])
"""Of p1, P1 and P2 in the distribution of the next symbol."""
N_AFTER_SYMBOL = 32
N_AFTER_PAIR = 8


@dataclass(frozen=True)
class Transitions:
    """The distributions of one W1.

    Attributes:
        n_symbols: V without BOS, at least 32.
        context: T, tokens of one sequence.
        seed: Of which successors every symbol and pair has.
    """

    n_symbols: int = 256
    context: int = 64
    seed: int = 0

    @cached_property
    def p1(self) -> np.ndarray:
        """Zipf's law: float64[V]."""
        return _by_rank(self.n_symbols)

    @cached_property
    def after_symbol(self) -> np.ndarray:
        """Successors of each symbol, heaviest first: int32[V, 32]."""
        rng = random_at(self.seed, "w1 after symbol")
        return _without_replacement(rng, np.broadcast_to(self.p1, (self.n_symbols,) * 2), N_AFTER_SYMBOL)

    @cached_property
    def symbol_probs(self) -> np.ndarray:
        """P1(c | b): float64[V, V]."""
        return self._scatter(self.after_symbol)

    @cached_property
    def after_pair(self) -> np.ndarray:
        """Successors of each pair, heaviest first: int32[V, V, 8] for [a, b]."""
        odds = (self.p1 + self.symbol_probs) / 2
        rng = random_at(self.seed, "w1 after pair")
        return np.stack([_without_replacement(rng, odds, N_AFTER_PAIR) for _ in range(self.n_symbols)])

    def probs(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """P(· | a, b): int[n] each to float64[n, V]."""
        out = SHARES[0] * self.p1 + SHARES[1] * self.symbol_probs[b]
        rows = np.arange(len(a))[:, None]
        out[rows, self.after_pair[a, b]] += SHARES[2] * _by_rank(N_AFTER_PAIR)
        return out

    def draw(self, a: np.ndarray, b: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Symbols after pairs, with two uniform numbers each: float64[n, 2] to int32[n]."""
        part = np.searchsorted(np.cumsum(SHARES)[:-1], uniform[:, 0], side="right")
        any_symbol = _draw_rank(uniform[:, 1], self.n_symbols)
        after_symbol = self.after_symbol[b, _draw_rank(uniform[:, 1], N_AFTER_SYMBOL)]
        after_pair = self.after_pair[a, b, _draw_rank(uniform[:, 1], N_AFTER_PAIR)]
        return np.choose(part, [any_symbol, after_symbol, after_pair]).astype(np.int32)

    @cached_property
    def pairs(self) -> np.ndarray:
        """Stationary distribution of pairs, by iteration to rest: float64[V, V]."""
        pairs = np.outer(self.p1, self.p1)
        fixed = SHARES[0] * self.p1 + SHARES[1] * self.symbol_probs
        cells = np.arange(self.n_symbols)[None, :, None] * self.n_symbols + self.after_pair
        for _ in range(1000):
            flow = (pairs[:, :, None] * _by_rank(N_AFTER_PAIR)).ravel()
            after = SHARES[2] * np.bincount(cells.ravel(), weights=flow, minlength=self.n_symbols**2)
            following = pairs.sum(0)[:, None] * fixed + after.reshape(pairs.shape)
            if np.abs(following - pairs).sum() < 1e-14:
                break
            pairs = following
        return following / following.sum()

    @cached_property
    def symbols(self) -> np.ndarray:
        """Stationary distribution of single symbols: float64[V]."""
        return self.pairs.sum(1)

    @cached_property
    def backoff(self) -> np.ndarray:
        """P(c | b), what is known without the symbol before b: float64[V, V]."""
        return self.pairs / self.symbols[:, None]

    @cached_property
    def entropy(self) -> float:
        """H(c | a, b), nats per scored token."""
        return float(
            sum((self.pairs[a] * _entropy(self.probs(*self.contexts(a)))).sum() for a in range(self.n_symbols))
        )

    def contexts(self, a: int) -> tuple[np.ndarray, np.ndarray]:
        """All pairs that begin with a: int[V] twice."""
        return np.full(self.n_symbols, a), np.arange(self.n_symbols)

    def _scatter(self, successors: np.ndarray) -> np.ndarray:
        """Successors by rank as distributions: int[n, k] to float64[n, V]."""
        out = np.zeros((len(successors), self.n_symbols))
        np.put_along_axis(out, successors, _by_rank(successors.shape[1])[None], axis=1)
        return out


def _by_rank(n: int) -> np.ndarray:
    """Weights ∝ 1/rank."""
    weights = 1 / np.arange(1, n + 1)
    return weights / weights.sum()


def _draw_rank(uniform: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(np.searchsorted(np.cumsum(_by_rank(n)), uniform, side="right"), n - 1)


def _without_replacement(rng: np.random.Generator, odds: np.ndarray, k: int) -> np.ndarray:
    """k different symbols for each row of odds, in the order drawn: the largest of ln p + Gumbel noise."""
    score = np.log(odds) + rng.gumbel(size=odds.shape)
    return np.argsort(-score, axis=1)[:, :k].astype(np.int32)


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p)).sum(-1)
