"""Who writes text in W1: the world itself, and teachers that know its pairs more or less well, with exact divergences.

*Coverage* knows the most frequent pairs perfectly and of the others only their last symbol; with no pair known, KL(p‖q)
is ``H(c | b) − H(c | a, b)`` exactly. *Noise* mixes the uniform distribution into every one; *temperature*
sharpens or flattens each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from scaling.data.worlds.generator import Divergence, kl_divergence, split_divergence
from scaling.data.worlds.symbols import SymbolGenerator, distorted
from scaling.data.worlds.w1_transitions import Transitions
from scaling.data.worlds.world import no_generator
from scaling.spec import CoverageTeacher, NoiseTeacher, RealTeacher, Teacher, TemperatureTeacher


@dataclass(frozen=True)
class W1Generator(SymbolGenerator):
    """A generator of W1's text.

    Attributes:
        world: Whose pairs it tells.
        noise: Share of the uniform distribution in every one.
        known_pairs: It knows so many of the most frequent pairs; None for all.
        temperature: Its distributions are ``P^(1/temperature)``, normalised.
    """

    world: Transitions
    noise: float = 0.0
    known_pairs: int | None = None
    temperature: float = 1.0

    purpose: ClassVar[str] = "w1"
    n_uniform: ClassVar[int] = 3

    @property
    def scored(self) -> np.ndarray:
        return np.arange(self.context) >= 2

    def next_token_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Exact distribution of every token given all before it: int[n, T] to float64[n, T, V]."""
        n, time = np.shape(sequences)
        out = np.zeros((n, time, self.vocab_size))
        out[:, 0, : self.bos] = self.world.symbols
        out[:, 1, : self.bos] = self.world.backoff[sequences[:, 0]]
        a, b = sequences[:, :-2].ravel(), sequences[:, 1:-1].ravel()
        out[:, 2:, : self.bos] = self.probs(a, b).reshape(n, time - 2, -1)
        return out

    def gain(self, sequences: np.ndarray) -> np.ndarray:
        """What knowing the symbol before the last is worth: float64[n, T], 0 where nothing is scored.

        Infinite for a teacher that knows all pairs: whatever its errors are, no pair is missing.
        """
        if self.known_pairs is None and not self.is_real:
            return np.full(np.shape(sequences), np.inf)
        a, b = sequences[:, :-2].ravel(), sequences[:, 1:-1].ravel()
        out = np.zeros(np.shape(sequences))
        out[:, 2:] = self._pair_gain(a, b).reshape(len(out), -1)
        return out

    def probs(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What it believes follows pairs: int[n] each to float64[n, V]."""
        q = self.world.probs(a, b)
        if self.known_pairs is not None:
            unknown = ~self._known[a, b]
            q[unknown] = self.world.backoff[b[unknown]]
        return distorted(q, temperature=self.temperature, noise=self.noise)

    def divergence(self) -> Divergence:
        """Exact ``Σ_ab P(a, b)·KL(p_ab‖q_ab)``, split by what the symbol a is worth in each context."""
        parts = []
        for a in range(self.world.n_symbols):
            context = self.world.contexts(a)
            kl = kl_divergence(self.world.probs(*context), self.probs(*context))
            gain = np.inf if self.known_pairs is None else self._pair_gain(*context)
            parts.append(split_divergence(self.world.pairs[a], kl, gain))
        return Divergence(coverage=sum(part.coverage for part in parts), noise=sum(part.noise for part in parts))

    @property
    def is_real(self) -> bool:
        """True for the world itself."""
        return self == W1Generator(self.world)

    @cached_property
    def _known(self) -> np.ndarray:
        """Whether each pair is among the most frequent ones: bool[V, V]."""
        known = np.zeros(self.world.pairs.size, bool)
        known[np.argsort(-self.world.pairs, axis=None, kind="stable")[: self.known_pairs]] = True
        return known.reshape(self.world.pairs.shape)

    @cached_property
    def _pair_cdf(self) -> np.ndarray:
        return np.cumsum(self.world.pairs)

    @cached_property
    def _backoff_cdf(self) -> np.ndarray:
        return np.cumsum(self.world.backoff, axis=1)

    def _pair_gain(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return kl_divergence(self.world.probs(a, b), self.world.backoff[b])

    def _write(self, uniform: np.ndarray) -> np.ndarray:
        uniform = uniform.reshape(len(uniform), self.context, self.n_uniform)
        out = np.empty(uniform.shape[:2], np.int32)
        pair = np.minimum(np.searchsorted(self._pair_cdf, uniform[:, 0, 0], side="right"), self.world.pairs.size - 1)
        out[:, 0], out[:, 1] = pair // self.world.n_symbols, pair % self.world.n_symbols
        for t in range(2, self.context):
            out[:, t] = self._draw(out[:, t - 2], out[:, t - 1], uniform[:, t])
        return out

    def _draw(self, a: np.ndarray, b: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Symbols by its distributions, which are spelled out only where the world's parts cannot be drawn from
        directly.
        """
        last = self.world.n_symbols - 1
        if self.temperature != 1:
            cdf = np.cumsum(self.probs(a, b), axis=1)
            return np.minimum((cdf <= uniform[:, :1]).sum(1), last)
        drawn = self.world.draw(a, b, uniform[:, :2])
        if self.known_pairs is not None:
            unknown = ~self._known[a, b]
            drawn[unknown] = np.minimum((self._backoff_cdf[b[unknown]] <= uniform[unknown, 1:2]).sum(1), last)
        uniformly = (uniform[:, 1] * self.world.n_symbols).astype(np.int32)
        return np.where(uniform[:, 2] < self.noise, uniformly, drawn)


def teacher_generator(world: Transitions, teacher: Teacher) -> W1Generator:
    """Who generates text as a teacher in a world; ``RealTeacher`` is the world itself.

    Raises:
        DataError: if this world has no such teacher.
    """
    match teacher:
        case RealTeacher():
            return W1Generator(world)
        case NoiseTeacher():
            return W1Generator(world, noise=teacher.rate)
        case CoverageTeacher():
            return W1Generator(world, known_pairs=teacher.top_keys)
        case TemperatureTeacher():
            return W1Generator(world, temperature=teacher.temperature)
    raise no_generator("W1", teacher)
