"""W2, random hierarchy model: sequences are the leaves of a tree of random rules, with exact entropy.

A root symbol, one of v, is rewritten into s symbols of the level below by one of its m rules, each of those again, L
times; the s^L leaves are the sequence. All rules of a level are different, so a tree can be read back from its
leaves, and ``H = ln v + (s^L − 1)/(s − 1)·ln m`` nats a sequence: every rewriting is one free choice of m. A student
that has learned ℓ levels predicts as if the symbols of level ℓ were drawn alone, evenly; each level learned lowers
its loss by a step.

The teachers of this world are those students: *coverage* of the lowest ``top_keys`` levels, with a closed-form KL(p‖q).
*Noise* mixes the uniform law into every law, *temperature* sharpens or flattens each; their KL is summed over contexts.

**Source:** Cagnetta et al. 2024, arXiv 2307.02129.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from scaling.data.counter import generator
from scaling.data.worlds.language import Divergence, averaged_divergence, kl_divergence
from scaling.data.worlds.symbols import SymbolLanguage, distorted
from scaling.spec import Teacher

MOST_CONTEXTS = 1 << 18
"""Contexts of one position that a divergence is summed over exactly."""


@dataclass(frozen=True)
class World:
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
        rng = generator(self.seed, "w2 rules")
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


@dataclass(frozen=True)
class Speaker(SymbolLanguage):
    """A language of a W2: the world's where all levels are known and nothing is distorted, a teacher's otherwise.

    Attributes:
        world: Whose rules it speaks by.
        known_levels: It knows the rules of so many levels, from the leaves up.
        noise: Share of the uniform law in every law.
        temperature: Its laws are ``P^(1/temperature)``, normalised.
    """

    world: World
    known_levels: int
    noise: float = 0.0
    temperature: float = 1.0

    purpose: ClassVar[str] = "w2"
    n_uniform: ClassVar[int] = 2

    @property
    def scored(self) -> np.ndarray:
        return np.ones(self.context, bool)

    def next_token(self, sequences: np.ndarray) -> np.ndarray:
        """Exact law of every token given all before it: int[n, T] to float64[n, T, V].

        What no tree of this world begins with (a teacher's text may) is followed by any symbol, evenly.

        The path from the highest known symbol down to the token is walked once: at each level, what was written to
        its left leaves some rules, and those give the law of the next symbol on the path.
        """
        levels = self._read(np.asarray(sequences))
        out = np.zeros((len(sequences), self.context, self.vocab_size))
        for t in range(self.context):
            out[:, t, : self.bos] = self._distorted(self._law(levels, t))
        return out

    def gain(self, sequences: np.ndarray) -> np.ndarray:
        """What knowing the highest level is worth at each token: float64[n, T].

        Infinite for a teacher whose laws are distorted: no level is missing.
        """
        if self._is_distorted:
            return np.full(np.shape(sequences), np.inf)
        lower = Speaker(self.world, self.known_levels - 1)
        return kl_divergence(self.next_token(sequences), lower.next_token(sequences))

    def divergence(self) -> Divergence:
        """``surprise(known levels) − entropy``: what is not known of the upper levels was never learned.

        Of distorted laws, ``Σ P(context)·KL(p‖q)`` over all contexts with different laws; where these are more than
        ``MOST_CONTEXTS``, its mean over a set of sequences.
        """
        if self._is_distorted:
            return self._distortion()
        gap = self.world.surprise(self.known_levels) - self.world.entropy
        return Divergence(coverage=gap, noise=0.0)

    @property
    def _is_distorted(self) -> bool:
        return self.noise > 0 or self.temperature != 1

    def _distorted(self, p: np.ndarray) -> np.ndarray:
        return distorted(p, temperature=self.temperature, noise=self.noise) if self._is_distorted else p

    def _distortion(self) -> Divergence:
        total = 0.0
        for t in range(self.context):
            found = contexts(self.world, t)
            if found is None:
                return averaged_divergence(Speaker(self.world, self.world.depth), self)
            mass, law = found
            total += float(mass @ kl_divergence(law, self._distorted(law)))
        return Divergence(coverage=0.0, noise=total / self.context)

    def _write(self, uniform: np.ndarray) -> np.ndarray:
        return self._by_token(uniform) if self._is_distorted else self._by_tree(uniform)

    def _by_token(self, uniform: np.ndarray) -> np.ndarray:
        """Write from left to right, each token by the law that what is there leaves."""
        out = np.zeros((len(uniform), self.context), np.int32)
        for t in range(self.context):
            cdf = np.cumsum(self._distorted(self._law(self._read(out), t)), axis=1)
            out[:, t] = np.minimum((cdf <= uniform[:, t, None]).sum(1), self.world.n_symbols - 1)
        return out

    def _by_tree(self, uniform: np.ndarray) -> np.ndarray:
        world, used = self.world, self.world.branching ** (self.world.depth - self.known_levels)
        symbols = (uniform[:, :used] * world.n_symbols).astype(np.int64)
        for level in range(self.known_levels - 1, -1, -1):
            width = symbols.shape[1]
            rule = (uniform[:, used : used + width] * world.n_rules).astype(np.int64)
            symbols = world.rules[level][symbols, rule].reshape(len(uniform), -1)
            used += width
        return symbols.astype(np.int32)

    def _read(self, sequences: np.ndarray) -> list[np.ndarray]:
        """Symbols of every known level, leaves first: int[n, T/s^level] each."""
        world, levels = self.world, [sequences.astype(np.int64)]
        for level in range(self.known_levels - 1):
            below = levels[-1].reshape(len(sequences), -1, world.branching)
            levels.append(self._parents[level][below @ self._place])
        return levels

    @cached_property
    def _place(self) -> np.ndarray:
        return self.world.n_symbols ** np.arange(self.world.branching - 1, -1, -1)

    @cached_property
    def _parents(self) -> list[np.ndarray]:
        """Which symbol writes each tuple, by level: int64[v^s]."""
        tables = []
        for rules in self.world.rules:
            table = np.zeros(self.world.n_symbols**self.world.branching, np.int64)
            table[rules @ self._place] = np.arange(self.world.n_symbols)[:, None]
            tables.append(table)
        return tables

    def _law(self, levels: list[np.ndarray], t: int) -> np.ndarray:
        world, n = self.world, len(levels[0])
        law = np.full((n, world.n_symbols), 1 / world.n_symbols)
        for level in range(self.known_levels - 1, -1, -1):
            rules = world.rules[level]
            node, child = divmod(t // world.branching**level, world.branching)
            left = levels[level][:, node * world.branching : node * world.branching + child]
            fits = (rules[None, ..., :child] == left[:, None, None, :]).all(-1)
            onto = np.eye(world.n_symbols)[rules[..., child].ravel()]
            law = (law[:, :, None] * fits).reshape(n, -1) @ onto
        total = law.sum(-1, keepdims=True)
        return np.where(total > 0, law / np.where(total > 0, total, 1.0), 1 / world.n_symbols)


def contexts(world: World, t: int) -> tuple[np.ndarray, np.ndarray] | None:
    """All that can be read before a token, as far as it matters: probabilities float64[n] and laws float64[n, v].

    From the root down to the token: at each level, what was written to the left of the path tells rules apart, every
    different one a branch. None if there are more than ``MOST_CONTEXTS`` branches.
    """
    v, s = world.n_symbols, world.branching
    mass, law = np.ones(1), np.full((1, v), 1 / v)
    for level in range(world.depth - 1, -1, -1):
        child = t // s**level % s
        rules = world.rules[level].reshape(-1, s)
        lefts, branch = np.unique(rules[:, :child], axis=0, return_inverse=True)
        if len(mass) * len(lefts) > MOST_CONTEXTS:
            return None
        by_rule = np.repeat(law, world.n_rules, axis=1) / world.n_rules
        onto = np.eye(v)[rules[:, child]]
        joint = np.concatenate([by_rule[:, branch.ravel() == i] @ onto[branch.ravel() == i] for i in range(len(lefts))])
        chance = joint.sum(-1)
        mass, reached = np.tile(mass, len(lefts)) * chance, chance > 0
        mass, law = mass[reached], joint[reached] / chance[reached, None]
    return mass, law


def speaker(world: World, teacher: Teacher) -> Speaker:
    """Who speaks as a teacher in a world; ``RealTeacher`` is the world itself."""
    if teacher.kind == "noise":
        return Speaker(world, world.depth, noise=teacher.rate)
    if teacher.kind == "temperature":
        return Speaker(world, world.depth, temperature=teacher.temperature)
    known = teacher.top_keys if teacher.kind == "coverage" else world.depth
    return Speaker(world, min(known, world.depth))
