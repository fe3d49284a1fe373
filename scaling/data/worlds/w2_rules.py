"""The rules of W2: what a symbol of one level writes of the level below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.data.counter import random_at


@dataclass(frozen=True)
class Rules:
    """The rules of one W2.

    Attributes:
        n_symbols: v, of every level.
        n_rules: m, of every symbol; at most v^(s−1).
        branching: s.
        depth: L, levels of rewriting.
        seed: Of the rules.
    """

    n_symbols: int = 16
    n_rules: int = 4
    branching: int = 2
    depth: int = 4
    seed: int = 0

    @property
    def context(self) -> int:
        """T = s^L."""
        return self.branching**self.depth

    @cached_property
    def rules(self) -> np.ndarray:
        """What every rule of every symbol writes, by level from the leaves up: int64[L, v, m, s]."""
        v, s = self.n_symbols, self.branching
        rng = random_at(self.seed, "w2 rules")
        chosen = np.stack([rng.permutation(v**s)[: v * self.n_rules] for _ in range(self.depth)])
        return (chosen[..., None] // v ** np.arange(s - 1, -1, -1) % v).reshape(self.depth, v, self.n_rules, s)

    @property
    def entropy(self) -> float:
        """Nats per token, averaged over a sequence."""
        return self.surprise(self.depth)

    def surprise(self, known_levels: int) -> float:
        """Mean ``−ln q`` of a token for who knows the rules of the lowest levels only, nats: closed form."""
        s, known = self.branching, known_levels
        free_symbols = s ** (self.depth - known)
        choices = free_symbols * (s**known - 1) // (s - 1)
        return float((free_symbols * np.log(self.n_symbols) + choices * np.log(self.n_rules)) / self.context)
