"""Several lists of sequences read as one, each in its share; and what a mixture of real and generated text asks for.

Every stretch of ``STRETCH`` positions holds the same number of sequences of each list, in an order drawn for that
stretch. So shares are met almost at once, and whose sequence lies at a position is found in constant time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.data.counter import random_at
from scaling.data.sequences import Sequences, WorldSequences
from scaling.data.worlds import MixtureGenerator
from scaling.errors import DataError
from scaling.spec import RunSpec

STRETCH = 4096
"""Positions in which the shares are met; also the finest share there is."""


@dataclass(frozen=True)
class MixedSequences(Sequences):
    """Lists of sequences, mixed by weight.

    Attributes:
        parts: The lists; all of one context.
        weights: Share of each, nonnegative numbers that sum to 1; kept to within one in ``STRETCH``.
        seed: Of the order.
        begin: What the sequences of each list are predicted from; by default, what they say themselves.
    """

    parts: tuple[Sequences, ...]
    weights: tuple[float, ...]
    seed: int
    begin: tuple[int, ...] | None = None

    @property
    def bos(self) -> int:
        return self.parts[0].bos

    @property
    def context(self) -> int:
        return self.parts[0].context

    @property
    def n_distinct(self) -> None:
        """Lists end at different places; see ``n_unique``."""
        return None

    def at(self, index: np.ndarray) -> np.ndarray:
        start = int(index[0])
        whose, place = (found[index - start] for found in self._find(start, int(index[-1]) + 1 - start))
        out = np.empty((len(index), self.context), np.int32)
        for k, part in enumerate(self.parts):
            if len(own := np.flatnonzero(whose == k)):
                out[own] = part.at(place[own])
        return out

    def require(self, count: int) -> None:
        for k, part in enumerate(self.parts):
            part.require(self.n_of(k, count))

    def first(self, start: int, count: int) -> np.ndarray:
        begin = self.begin or tuple(part.bos for part in self.parts)
        return np.array(begin, np.int32)[self._find(start, count)[0]]

    def n_unique(self, count: int) -> int:
        return sum(part.n_unique(self.n_of(k, count)) for k, part in enumerate(self.parts))

    def n_of(self, part: int, count: int) -> int:
        """Sequences of one list among the first ``count``."""
        return _count(self._quota, self.seed, part, count)

    def _find(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Whose sequence lies at each position, and which of theirs it is: int64[count] each."""
        first, last = start // STRETCH, -(-(start + count) // STRETCH)
        whose = np.concatenate([_order(self._quota, self.seed, stretch) for stretch in range(first, last)])
        place = np.empty_like(whose)
        for k in range(len(self.parts)):
            own = whose == k
            place[own] = first * self._quota[k] + np.arange(own.sum())
        within = slice(start - first * STRETCH, start - first * STRETCH + count)
        return whose[within], place[within]

    @cached_property
    def _quota(self) -> np.ndarray:
        return quotas(self.weights)


def quotas(weights: Sequence[float]) -> np.ndarray:
    """Positions of a stretch that go to each list, by largest remainder: int64[n].

    Raises:
        DataError: if the weights are no shares, or one is too small to get a position.
    """
    shares = np.asarray(weights, np.float64) * STRETCH
    if not np.isclose(shares.sum(), STRETCH) or (shares < 0).any():
        raise DataError(f"weights {list(weights)} are no shares; give nonnegative numbers that sum to 1")
    quota = np.floor(shares + 1e-9).astype(np.int64)
    quota[np.argsort(quota - shares, kind="stable")[: STRETCH - quota.sum()]] += 1
    if (quota[np.asarray(weights) > 0] == 0).any():
        raise DataError(f"weights {list(weights)}: shares below {1 / STRETCH:.5f} cannot be kept; leave the source out")
    return quota


def _order(quota: np.ndarray, seed: int, stretch: int) -> np.ndarray:
    """Whose sequence lies at each position of a stretch: int64[STRETCH]."""
    return random_at(seed, "mixing", stretch).permutation(np.repeat(np.arange(len(quota)), quota))


def _count(quota: np.ndarray, seed: int, part: int, count: int) -> int:
    """Sequences of one list among the first ``count``."""
    stretches, rest = divmod(count, STRETCH)
    return stretches * int(quota[part]) + int((_order(quota, seed, stretches)[:rest] == part).sum())


@dataclass(frozen=True)
class MarkedSequences(WorldSequences):
    """A world's mixture, of which every sequence begins with a token that says whether it is real.

    Attributes:
        mark: What generated sequences begin with.
    """

    generator: MixtureGenerator
    mark: int

    def first(self, start: int, count: int) -> np.ndarray:
        return np.where(self.generator.is_real(self.seed, start, count), self.bos, self.mark).astype(np.int32)


def unmixed(spec: RunSpec) -> RunSpec:
    """A run as if the teacher inside its mixture generated all that it reads; any other run as it is."""
    if spec.data.generator is spec.data.teacher:
        return spec
    data = spec.data.model_copy(update={"teacher": spec.data.generator})
    model = spec.model.model_copy(update={"vocab_size": spec.data.source.vocab_size})
    return spec.model_copy(update={"data": data, "model": model})


def generated_tokens(spec: RunSpec) -> int:
    """Tokens that a run reads of what its teacher has generated."""
    if spec.data.generator is spec.data.teacher:
        return spec.n_tokens
    quota = quotas((spec.data.real_share, 1 - spec.data.real_share))
    return _count(quota, spec.data.seed, 1, spec.n_tokens // spec.model.context) * spec.model.context
