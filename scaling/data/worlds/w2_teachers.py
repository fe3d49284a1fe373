"""Who generates text in W2: the world itself, and teachers that know fewer levels or are wrong, with exact divergences.

*Coverage* knows the rules of the lowest ``top_keys`` levels, with a closed-form KL(p‖q). *Noise* mixes the uniform
distribution into every one, *temperature* sharpens or flattens each; their KL is summed over contexts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from scaling.data.worlds.generator import Divergence, averaged_divergence, kl_divergence
from scaling.data.worlds.symbols import SymbolGenerator, distorted
from scaling.data.worlds.w2_rules import Rules
from scaling.data.worlds.world import no_generator
from scaling.spec import CoverageTeacher, NoiseTeacher, RealTeacher, Teacher, TemperatureTeacher

MOST_CONTEXTS = 1 << 18
"""Contexts of one position that a divergence is summed over exactly."""


@dataclass(frozen=True)
class W2Generator(SymbolGenerator):
    """A generator of W2's text: the world itself where all levels are known and nothing is distorted, a teacher
    otherwise.

    Attributes:
        world: Whose rules it writes by.
        known_levels: It knows the rules of so many levels, from the leaves up.
        noise: Share of the uniform distribution in every one.
        temperature: Its distributions are ``P^(1/temperature)``, normalised.
    """

    world: Rules
    known_levels: int
    noise: float = 0.0
    temperature: float = 1.0

    purpose: ClassVar[str] = "w2"
    n_uniform: ClassVar[int] = 2

    @property
    def scored(self) -> np.ndarray:
        return np.ones(self.context, bool)

    def next_token_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Exact distribution of every token given all before it: int[n, T] to float64[n, T, V].

        What no tree of this world begins with (a teacher's text may) is followed by any symbol, evenly.

        The path from the highest known symbol down to the token is walked once: at each level, what was written to
        its left leaves some rules, and those give the distribution of the next symbol on the path.
        """
        levels = self._read(np.asarray(sequences))
        out = np.zeros((len(sequences), self.context, self.vocab_size))
        for t in range(self.context):
            out[:, t, : self.bos] = self._distorted(self._probs(levels, t))
        return out

    def gain(self, sequences: np.ndarray) -> np.ndarray:
        """What knowing the highest level is worth at each token: float64[n, T].

        Infinite for a teacher whose distributions are distorted: no level is missing. Nothing for one that lacks
        levels: all its errors are gaps, however small.
        """
        if self._is_distorted or self.known_levels < self.world.depth:
            return np.full(np.shape(sequences), np.inf if self._is_distorted else 0.0)
        lower = W2Generator(self.world, self.known_levels - 1)
        return kl_divergence(self.next_token_probs(sequences), lower.next_token_probs(sequences))

    def divergence(self) -> Divergence:
        """``surprise(known levels) − entropy``: what is not known of the upper levels was never learned.

        Of distorted distributions, ``Σ P(context)·KL(p‖q)`` over all different contexts; where these
        are more than ``MOST_CONTEXTS``, its mean over a set of sequences.
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
                return averaged_divergence(W2Generator(self.world, self.world.depth), self)
            mass, probs = found
            total += float(mass @ kl_divergence(probs, self._distorted(probs)))
        return Divergence(coverage=0.0, noise=total / self.context)

    def _write(self, uniform: np.ndarray) -> np.ndarray:
        return self._by_token(uniform) if self._is_distorted else self._by_tree(uniform)

    def _by_token(self, uniform: np.ndarray) -> np.ndarray:
        """Write from left to right, each token by the distribution that what is there leaves."""
        out = np.zeros((len(uniform), self.context), np.int32)
        for t in range(self.context):
            cdf = np.cumsum(self._distorted(self._probs(self._read(out), t)), axis=1)
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

    def _probs(self, levels: list[np.ndarray], t: int) -> np.ndarray:
        world, n = self.world, len(levels[0])
        probs = np.full((n, world.n_symbols), 1 / world.n_symbols)
        for level in range(self.known_levels - 1, -1, -1):
            rules = world.rules[level]
            node, child = divmod(t // world.branching**level, world.branching)
            left = levels[level][:, node * world.branching : node * world.branching + child]
            fits = (rules[None, ..., :child] == left[:, None, None, :]).all(-1)
            onto = np.eye(world.n_symbols)[rules[..., child].ravel()]
            probs = (probs[:, :, None] * fits).reshape(n, -1) @ onto
        total = probs.sum(-1, keepdims=True)
        return np.where(total > 0, probs / np.where(total > 0, total, 1.0), 1 / world.n_symbols)


def contexts(world: Rules, t: int) -> tuple[np.ndarray, np.ndarray] | None:
    """All that can be read before a token, as far as it matters: probabilities float64[n] and distributions float64[n,
    v].

    From the root down to the token: at each level, what was written to the left of the path tells rules apart, every
    different one a branch. None if there are more than ``MOST_CONTEXTS`` branches.
    """
    v, s = world.n_symbols, world.branching
    mass, probs = np.ones(1), np.full((1, v), 1 / v)
    for level in range(world.depth - 1, -1, -1):
        child = t // s**level % s
        rules = world.rules[level].reshape(-1, s)
        lefts, branch = np.unique(rules[:, :child], axis=0, return_inverse=True)
        if len(mass) * len(lefts) > MOST_CONTEXTS:
            return None
        by_rule = np.repeat(probs, world.n_rules, axis=1) / world.n_rules
        onto = np.eye(v)[rules[:, child]]
        joint = np.concatenate([by_rule[:, branch.ravel() == i] @ onto[branch.ravel() == i] for i in range(len(lefts))])
        chance = joint.sum(-1)
        mass, reached = np.tile(mass, len(lefts)) * chance, chance > 0
        mass, probs = mass[reached], joint[reached] / chance[reached, None]
    return mass, probs


def teacher_generator(world: Rules, teacher: Teacher) -> W2Generator:
    """Who generates text as a teacher in a world; ``RealTeacher`` is the world itself.

    Raises:
        DataError: if this world has no such teacher.
    """
    match teacher:
        case RealTeacher():
            return W2Generator(world, world.depth)
        case NoiseTeacher():
            return W2Generator(world, world.depth, noise=teacher.rate)
        case TemperatureTeacher():
            return W2Generator(world, world.depth, temperature=teacher.temperature)
        case CoverageTeacher():
            return W2Generator(world, min(teacher.top_keys, world.depth))
    raise no_generator("W2", teacher)
