"""Where a stream's sequences come from: a world, real text, or a trained teacher's text; all seek in constant time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.data.counter import random_at, shuffled
from scaling.data.shards import TokenShards
from scaling.data.worlds import Generator
from scaling.data.worlds.generator import BLOCK
from scaling.errors import DataError


class Sequences(ABC):
    """An endless list of sequences, each a function of its position alone."""

    @property
    @abstractmethod
    def bos(self) -> int:
        """What the first token of every real sequence is predicted from."""

    @property
    @abstractmethod
    def n_distinct(self) -> int | None:
        """Sequences before any token comes a second time; None where none ever does."""

    @property
    @abstractmethod
    def context(self) -> int:
        """T, tokens of a sequence."""

    @abstractmethod
    def at(self, index: np.ndarray) -> np.ndarray:
        """Sequences at ascending positions, int64[n]: int32[n, T]. Of others, a world may write those between."""

    def read(self, start: int, count: int) -> np.ndarray:
        """Sequences ``start … start+count``: int32[count, T]."""
        return self.at(np.arange(start, start + count))

    def require(self, count: int) -> None:  # noqa: B027
        """Raise DataError where there are fewer sequences than ``count``; most lists have no end."""

    def first(self, start: int, count: int) -> np.ndarray:
        """What the first token of each is predicted from: int32[count]."""
        return np.full(count, self.bos, np.int32)

    def targets(self, sequences: np.ndarray) -> np.ndarray:
        """The tokens to be predicted, int32[..., T], −1 where none is; text is predicted everywhere."""
        return sequences

    def n_unique(self, count: int) -> int:
        """Sequences among the first ``count`` that hold tokens not read before."""
        return count if self.n_distinct is None else min(count, self.n_distinct)


@dataclass(frozen=True)
class WorldSequences(Sequences):
    """Fresh samples of a world or its teacher, without end."""

    generator: Generator
    seed: int

    @property
    def n_distinct(self) -> None:
        return None

    @property
    def bos(self) -> int:
        return self.generator.bos

    @property
    def context(self) -> int:
        return self.generator.context

    def at(self, index: np.ndarray) -> np.ndarray:
        # A world writes blocks: those between two positions are left out where nothing is asked of them.
        runs = np.split(index, np.flatnonzero(np.diff(index // BLOCK) > 1) + 1)
        spans = [(run - run[0], int(run[0]), int(run[-1] + 1 - run[0])) for run in runs]
        return np.concatenate([self.generator.sequences(self.seed, start, count)[own] for own, start, count in spans])


@dataclass(frozen=True)
class TextSequences(Sequences):
    """Windows of running text in shuffled order; after the last one the text is cut and shuffled anew.

    Every epoch but the first begins at a random offset, so that a token is not met again in the same place.
    """

    shards: TokenShards
    length: int
    seed: int

    @property
    def context(self) -> int:
        return self.length

    @property
    def bos(self) -> int:
        return self.shards.card.bos

    @cached_property
    def n_distinct(self) -> int:
        """Windows of one epoch."""
        n = int(self._ends[-1]) if len(self._ends) else 0
        if n == 0:
            raise DataError(
                f"{self.shards.folder}: {self.shards.card.tokens} tokens are too few for windows of {self.context}; "
                "use more text or a smaller model.context"
            )
        return n

    def at(self, index: np.ndarray) -> np.ndarray:
        epoch, window = shuffled(index, self.n_distinct, seed=self.seed, purpose="epoch order")
        shard = np.searchsorted(self._ends, window, side="right")
        first = np.concatenate([[0], self._ends])[shard]
        return self.shards.windows(shard, (window - first) * self.context + self._shift(epoch), self.context)

    def _shift(self, epoch: np.ndarray) -> np.ndarray:
        epochs, place = np.unique(epoch, return_inverse=True)
        shifts = [random_at(self.seed, "epoch offset", int(e)).integers(self.context) if e else 0 for e in epochs]
        return np.array(shifts)[place]

    @cached_property
    def _ends(self) -> np.ndarray:
        # One window less than fits, so that an epoch's offset never leaves the shard.
        return np.cumsum([max(0, shard.tokens // self.context - 1) for shard in self.shards.card.shards])


@dataclass(frozen=True)
class TeacherSequences(Sequences):
    """What a teacher generated, read once and in order: its sequences are independent already.

    A student with a shorter context reads every sequence in pieces, the first pieces of a shard's sequences before the
    second ones, so that neighbours in a batch stay independent.
    """

    shards: TokenShards
    length: int

    @property
    def context(self) -> int:
        return self.length

    @property
    def bos(self) -> int:
        return self.shards.card.bos

    @property
    def n_distinct(self) -> int:
        return sum(self._per_shard)

    def require(self, count: int) -> None:
        if count > self.n_distinct:
            raise DataError(
                f"{self.shards.folder}: holds {self.n_distinct * self.context} tokens of the teacher, "
                f"{count * self.context} are needed; generate more (`scaling sweep` does so before training)"
            )

    def at(self, index: np.ndarray) -> np.ndarray:
        self.require(int(index[-1]) + 1)
        ends = np.cumsum(self._per_shard)
        shard = np.searchsorted(ends, index, side="right")
        within = index - np.concatenate([[0], ends])[shard]
        rows = np.array(self._per_shard)[shard] // self._pieces
        offset = within % rows * self._sequence_tokens + within // rows * self.context
        return self.shards.windows(shard, offset, self.context)

    @property
    def _sequence_tokens(self) -> int:
        tokens = self.shards.card.sequence_tokens
        if tokens is None:
            raise DataError(f"{self.shards.folder}: running text, not a teacher's sequences; delete it and start again")
        return tokens

    @cached_property
    def _pieces(self) -> int:
        pieces = self._sequence_tokens // self.context
        if pieces == 0:
            raise DataError(
                f"{self.shards.folder}: the teacher wrote sequences of {self._sequence_tokens} tokens, the student's "
                f"context is {self.context}; give the student at most the teacher's context"
            )
        return pieces

    @cached_property
    def _per_shard(self) -> list[int]:
        return [shard.tokens // self._sequence_tokens * self._pieces for shard in self.shards.card.shards]
