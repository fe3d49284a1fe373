"""N-gram language models with interpolated modified Kneser–Ney smoothing: a family of teachers graded by their order.

``P_k(w | h) = max(c(hw) − D(c), 0)/c(h) + γ(h)·P_{k−1}(w | h')`` down to the uniform distribution, with one discount
each for counts of 1, 2 and 3 or more; below the highest order c counts the different tokens that come before. All grams
of an order are packed into sorted 64-bit words, so that training, scoring and sampling are array operations.

**Source:** Chen & Goodman 1999, *An empirical study of smoothing techniques for language modeling*; Kneser & Ney 1995.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scaling.errors import DataError

SPARE_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])
"""Of an order whose rare grams are too few to estimate discounts from (as KenLM falls back)."""


@dataclass(frozen=True)
class Level:
    """All grams of one order.

    Attributes:
        grams: uint64[n], packed oldest token first, ascending; those of one history lie together.
        mass: float64[n], ``max(c(hw) − D(c), 0)/c(h)``.
        cumulative: float64[n + 1], sums of ``mass`` before each gram.
        histories: uint64[m], ascending.
        first: int64[m + 1], where the grams of each history begin.
        gamma: float64[m], what each history leaves to the order below.
    """

    grams: np.ndarray
    mass: np.ndarray
    cumulative: np.ndarray
    histories: np.ndarray
    first: np.ndarray
    gamma: np.ndarray

    def only(self, kept: np.ndarray, bits: np.uint64) -> Level:
        """Some of its grams, bool[n]; what the others had, their histories leave to the order below."""
        grams, mass = self.grams[kept], self.mass[kept]
        histories, first = np.unique(grams >> bits, return_index=True)
        cumulative = np.concatenate([[0.0], np.cumsum(mass)])
        first = np.append(first, len(grams))
        return Level(grams, mass, cumulative, histories, first, 1 - (cumulative[first[1:]] - cumulative[first[:-1]]))


@dataclass(frozen=True)
class Ngram:
    """A model of the next token given at most ``order − 1`` before it.

    Attributes:
        vocab_size: V.
        levels: One for each order, from 1 up.
    """

    vocab_size: int
    levels: tuple[Level, ...]

    @property
    def order(self) -> int:
        return len(self.levels)

    def log_probs(self, sequences: np.ndarray) -> np.ndarray:
        """``ln P`` of every token given those before it in its sequence: int[n, T] to float64[n, T]."""
        tokens = np.asarray(sequences).astype(np.uint64)
        p = np.full(tokens.shape, 1 / self.vocab_size)
        for k, level in enumerate(self.levels, start=1):
            if tokens.shape[1] >= k:
                p[:, k - 1 :] = self._mix_in(level, pack(tokens, k, self.bits), p[:, k - 1 :])
        return np.log(p)

    def next_log_probs(self, histories: np.ndarray) -> np.ndarray:
        """``ln P`` of every token behind some histories: int[n, T] to float64[n, V]."""
        tokens = np.asarray(histories).astype(np.uint64)
        n, longest = tokens.shape
        p = np.full((n, self.vocab_size), 1 / self.vocab_size)
        for k, level in enumerate(self.levels[: longest + 1], start=1):
            place, known = _find(level.histories, pack(tokens[:, longest - k + 1 :], k - 1, self.bits)[:, 0])
            p *= np.where(known, level.gamma[place], 1.0)[:, None]
            # The grams of a history lie together: only these add to what the order below says.
            first = level.first[place]
            size = np.where(known, level.first[place + 1] - first, 0)
            rows = np.repeat(np.arange(n), size)
            own = np.arange(len(rows)) + np.repeat(first - (np.cumsum(size) - size), size)
            p[rows, (level.grams[own] & self._mask).astype(np.int64)] += level.mass[own]
        return np.log(p)

    def sample(self, rng: np.random.Generator, n_sequences: int, length: int) -> np.ndarray:
        """Write independent sequences: int32[n_sequences, length].

        From the longest history down: with probability γ(h) a history hands on to the next shorter one, else it chooses
        among its own grams.
        """
        out = np.empty((n_sequences, length), np.int32)
        for t in range(length):
            out[:, t] = self._draw(out[:, max(0, t - self.order + 1) : t], rng.random((self.order + 1, n_sequences)))
        return out

    def _mix_in(self, level: Level, grams: np.ndarray, lower: np.ndarray) -> np.ndarray:
        place, known = _find(level.histories, grams >> self.bits)
        own, seen = _find(level.grams, grams)
        return np.where(known, np.where(seen, level.mass[own], 0.0) + level.gamma[place] * lower, lower)

    def _draw(self, history: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        n, longest = history.shape
        chosen, open_ = np.empty(n, np.int64), np.ones(n, bool)
        for k in range(longest + 1, 0, -1):
            level, rows = self.levels[k - 1], np.flatnonzero(open_)
            recent = history[rows, longest - k + 1 :].astype(np.uint64)
            place, known = _find(level.histories, pack(recent, k - 1, self.bits)[:, -1] if k > 1 else _none(rows))
            ends = known & (uniform[k, rows] >= level.gamma[place])
            rows, place = rows[ends], place[ends]
            low, high = level.cumulative[level.first[place]], level.cumulative[level.first[place + 1]]
            at = np.searchsorted(level.cumulative, low + uniform[0, rows] * (high - low), side="right") - 1
            at = np.clip(at, level.first[place], level.first[place + 1] - 1)
            chosen[rows] = (level.grams[at] & self._mask).astype(np.int64)
            open_[rows] = False
        chosen[open_] = (uniform[0, open_] * self.vocab_size).astype(np.int64)
        return chosen

    def unpacked(self, grams: np.ndarray, k: int) -> np.ndarray:
        """The tokens of packed grams of order k: uint64[n] to uint64[n, k]."""
        return np.stack([grams >> (self.bits * np.uint64(k - 1 - i)) & self._mask for i in range(k)], axis=1)

    @property
    def bits(self) -> np.uint64:
        """Of one token in a packed gram."""
        return _bits(self.vocab_size)

    @property
    def _mask(self) -> np.uint64:
        return (np.uint64(1) << self.bits) - np.uint64(1)


def train_ngram(texts: Iterable[np.ndarray], vocab_size: int, order: int) -> Ngram:
    """Count and smooth.

    Args:
        texts: int[n] each, running text; no gram crosses from one to the next.
        vocab_size: V.
        order: Longest gram, at least 1.

    Raises:
        DataError: if grams of that order and vocabulary do not fit 64 bits, or the text is shorter than one gram.
    """
    bits = int(_bits(vocab_size))
    if bits * order > 64:
        raise DataError(
            f"an order-{order} model of {vocab_size} tokens needs {bits * order} bits a gram, 64 are there; "
            f"use order {64 // bits} at most, or a smaller vocabulary"
        )
    texts = [np.asarray(text, np.uint64)[None] for text in texts]
    packed = [pack(text, order, np.uint64(bits))[0] for text in texts if text.shape[1] >= order]
    if not packed:
        raise DataError(f"the text is shorter than one gram of {order} tokens; use more text or a lower order")
    grams, counts = np.unique(np.concatenate(packed), return_counts=True)
    levels = [_smooth(grams, counts, np.uint64(bits))]
    for k in range(order - 1, 0, -1):
        # Lower orders count distinct predecessors, not occurrences: each longer gram votes once for its suffix.
        suffixes = grams & ((np.uint64(1) << np.uint64(k * bits)) - np.uint64(1))
        grams, counts = np.unique(suffixes, return_counts=True)
        levels.insert(0, _smooth(grams, counts, np.uint64(bits)))
    return Ngram(vocab_size, tuple(levels))


def _smooth(grams: np.ndarray, counts: np.ndarray, bits: np.uint64) -> Level:
    histories, first = np.unique(grams >> bits, return_index=True)
    kept = np.maximum(counts - discounts(counts)[np.minimum(counts, 3)], 0.0)
    totals = np.add.reduceat(counts, first).astype(np.float64)
    gamma = 1 - np.add.reduceat(kept, first) / totals
    first = np.append(first, len(grams))
    mass = kept / np.repeat(totals, np.diff(first))
    return Level(grams, mass, np.concatenate([[0.0], np.cumsum(mass)]), histories, first, gamma)


def discounts(counts: np.ndarray) -> np.ndarray:
    """Discounts of counts 0, 1, 2 and 3 or more, from how many grams occur 1, 2, 3 and 4 times.

    ``Y = n1/(n1 + 2·n2)``, ``D_i = i − (i + 1)·Y·n_{i+1}/n_i``; ``SPARE_DISCOUNTS`` where one is not in [0, i].
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)[:5].astype(np.float64)
    if (n[1:4] == 0).any():
        return SPARE_DISCOUNTS
    i = np.arange(1, 4)
    estimated = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[2:5] / n[1:4]
    usable = (estimated >= 0).all() and (estimated <= i).all()
    return np.concatenate([[0.0], estimated]) if usable else SPARE_DISCOUNTS


def pack(tokens: np.ndarray, k: int, bits: np.uint64) -> np.ndarray:
    """Every run of k tokens as one word: uint64[n, T] to uint64[n, T − k + 1]."""
    width = tokens.shape[1] - k + 1
    out = np.zeros((len(tokens), width), np.uint64)
    for i in range(k):
        out = (out << bits) | tokens[:, i : i + width]
    return out


def _find(sorted_: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted word is, and whether it is there."""
    place = np.minimum(np.searchsorted(sorted_, wanted), len(sorted_) - 1)
    return place, sorted_[place] == wanted


def _none(rows: np.ndarray) -> np.ndarray:
    """The empty history, once a row."""
    return np.zeros(len(rows), np.uint64)


def _bits(vocab_size: int) -> np.uint64:
    return np.uint64((vocab_size - 1).bit_length())
