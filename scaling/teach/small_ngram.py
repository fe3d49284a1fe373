"""An n-gram model cut down to a number of bytes: what a keyboard suggests that has no network.

A gram is left out where the order below says nearly the same of it, weighed by how often it occurs, until the rest
fits. What it leaves is handed down to the order below.

**Source:** Seymore & Rosenfeld 1996, *Scalable backoff language models* (weighted difference).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from scaling.data.tasks.suggestions import Reader, Tokens
from scaling.errors import DataError
from scaling.teach.ngram import Level, Ngram, pack, train_ngram

ORDER = 5
"""Longest gram, where 64 bits hold it."""
VALUE_BITS = 8
"""Of a probability, and of what a history leaves to the order below."""


def ngram_bytes(model: Ngram) -> int:
    """Bytes of a model as a trie of packed bits, the tables of its 8-bit values and its vocabulary not counted.

    A gram is its last token, its probability, and unless it is of the longest what it leaves as a history and where
    the grams that it begins lie: ``Σ_k n_k·(v + 8 + [k < order]·(8 + ⌈log2(n_{k+1} + 1)⌉))`` bits, v those of a token;
    single tokens are told by their place.

    **Source:** Heafield 2011, *KenLM: faster and smaller language model queries* (trie, quantized).
    """
    sizes = [len(level.grams) for level in model.levels]
    sizes[0] = model.vocab_size
    token = (model.vocab_size - 1).bit_length()
    bits = sum(n * VALUE_BITS for n in sizes) + sum(n * token for n in sizes[1:])
    bits += sum(n * (VALUE_BITS + longer.bit_length()) for n, longer in zip(sizes, sizes[1:], strict=False))
    return -(-bits // 8)


def train_small_ngram(text: np.ndarray, vocab_size: int, n_bytes: int) -> Ngram:
    """The largest n-gram model of a text that takes at most so many bytes.

    Args:
        text: int[n], running text.
        vocab_size: V.
        n_bytes: As `ngram_bytes` counts them.

    Raises:
        DataError: not even the single tokens fit.
    """
    order = min(ORDER, 64 // (vocab_size - 1).bit_length())
    whole = train_ngram([text], vocab_size, order)
    # The discounted counts of the lower orders are of other tokens before a gram, and no frequencies.
    worth = [np.full(len(whole.levels[0].grams), np.inf)]
    worth += [_worth(whole, k, text) for k in range(2, order + 1)]
    ranked = np.sort(np.concatenate(worth[1:]))
    low, high = -1, len(ranked) - 1
    if ngram_bytes(_above(whole, worth, np.inf)) > n_bytes:
        raise DataError(f"the {vocab_size:,} single tokens of an n-gram model take more than {n_bytes:,} bytes")
    # The fewest that have to go: all grams worth more than the high-th fit, those above the low-th do not.
    if ngram_bytes(whole) <= n_bytes:
        return whole
    while high - low > 1:
        middle = (low + high) // 2
        fits = ngram_bytes(_above(whole, worth, ranked[middle])) <= n_bytes
        low, high = (low, middle) if fits else (middle, high)
    return _above(whole, worth, ranked[high])


def _worth(model: Ngram, k: int, text: np.ndarray) -> np.ndarray:
    """``c(hw)·(ln P(w|h) − ln P(w|h'))`` of every gram of an order: float64[n]."""
    grams = model.levels[k - 1].grams
    counted, counts = np.unique(pack(text[None].astype(np.uint64), k, model.bits), return_counts=True)
    tokens = model.unpacked(grams, k)
    shorter = replace(model, levels=model.levels[: k - 1])
    gain = replace(model, levels=model.levels[:k]).log_probs(tokens)[:, -1] - shorter.log_probs(tokens)[:, -1]
    return counts[np.searchsorted(counted, grams)] * gain


def _above(model: Ngram, worth: Sequence[np.ndarray], least: float) -> Ngram:
    """Grams worth more than so much, and those that a longer one begins with."""
    levels: list[Level] = []
    needed = np.empty(0, np.uint64)
    for level, own in zip(reversed(model.levels), reversed(worth), strict=True):
        kept = (own > least) | np.isin(level.grams, needed) | np.isinf(own)
        levels.insert(0, level.only(kept, model.bits))
        needed = levels[0].histories
    # An order without a gram is none.
    return replace(model, levels=tuple(level for level in levels if len(level.grams)))


@dataclass(frozen=True)
class NgramKeyboard:
    """An n-gram model that suggests words."""

    ngram: Ngram

    def read(self, contexts: np.ndarray) -> Iterator[tuple[slice, Reader]]:
        """Contexts int32[n, C], all at once."""
        yield slice(0, len(contexts)), partial(self._behind, contexts[:, -self.ngram.order :])

    def _behind(self, contexts: np.ndarray, rows: Sequence[int], behind: Sequence[Tokens]) -> np.ndarray:
        """``ln`` of the next token behind each beginning, float32[n, V]."""
        kept = self.ngram.order
        histories = [(*contexts[row], *tokens)[-kept:] for row, tokens in zip(rows, behind, strict=True)]
        return self.ngram.next_log_probs(np.array(histories)).astype(np.float32)
