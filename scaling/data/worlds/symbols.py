"""What languages over plain symbols have in common: BOS behind the symbols, sequences grown from uniform numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np

from scaling.data.counter import random_at
from scaling.data.worlds.generator import BLOCK, from_blocks


class SymbolWorld(Protocol):
    """A world whose tokens are symbols 0 … n_symbols − 1."""

    @property
    def n_symbols(self) -> int:
        """Of the text, without a beginning of sequence."""
        ...

    @property
    def context(self) -> int:
        """T, tokens of one sequence."""
        ...


class SymbolGenerator(ABC):
    """A generator of such a world's text: the world's own, or a teacher's."""

    world: SymbolWorld
    purpose: ClassVar[str]
    """Name of the world; another one draws other numbers."""
    n_uniform: ClassVar[int]
    """Random numbers behind a token."""

    @property
    def vocab_size(self) -> int:
        return self.world.n_symbols + 1

    @property
    def bos(self) -> int:
        return self.world.n_symbols

    @property
    def context(self) -> int:
        return self.world.context

    def sequences(self, seed: int, start: int, count: int) -> np.ndarray:
        """Sequences ``start … start+count`` of the endless sample with this seed: int32[count, T], without BOS."""
        purpose, size = f"{self.purpose} sample", (BLOCK, self.n_uniform * self.context)
        return from_blocks(lambda number: self._write(random_at(seed, purpose, number).random(size)), start, count)

    def evaluation_sequences(self, count: int, seed: int) -> np.ndarray:
        """A fixed set in which each random number, over all sequences, lies on the quantile grid ``(i + ½)/n``."""
        rng = random_at(seed, f"{self.purpose} evaluation")
        grid = (np.arange(count) + 0.5) / count
        return self._write(np.stack([rng.permutation(grid) for _ in range(self.n_uniform * self.context)], axis=1))

    @abstractmethod
    def _write(self, uniform: np.ndarray) -> np.ndarray:
        """Grow sequences from uniform numbers: float64[n, n_uniform·T] to int32[n, T]."""


def distorted(p: np.ndarray, *, temperature: float, noise: float) -> np.ndarray:
    """``(1 − noise)·P^(1/temperature)/Z + noise/V`` over the last axis: who is wrong everywhere alike."""
    if temperature != 1:
        p = p ** (1 / temperature)
        p = p / p.sum(-1, keepdims=True)
    return (1 - noise) * p + noise / p.shape[-1]
