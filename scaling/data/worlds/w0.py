"""W0, Zipf-cue facts: a language of key–answer records whose entropy is known in closed form.

A sequence is BOS and ``n_records`` records of eight tokens. Four *cue* tokens spell a key rank k big-endian in base
32, ``P(k) ∝ (k+1)^−(1+alpha)`` over 32⁴ keys. Four *answer* tokens follow, each drawn from a distribution that the key
decides. Nothing in the sequence but the cue tells an answer, so a student must store facts, most frequent first; that
is what makes its loss fall as a power of size and data. Only answers are scored: their entropy is the same for every
key.

The facts are in ``w0_facts.py``, the teachers in ``w0_teachers.py``.

**Source:** the quantization model of Michaud et al. 2023, arXiv 2303.13506; the construction and its constants are this
project's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.worlds.generator import Divergence, Generator
from scaling.data.worlds.mixture import MixtureGenerator
from scaling.data.worlds.w0_facts import BASE, Facts
from scaling.data.worlds.w0_mixture import mixed_divergence
from scaling.data.worlds.w0_teachers import Ranges, W0Generator, key_temperature, knowledge
from scaling.data.worlds.world import WORLDS, World
from scaling.spec import FactSource, RealTeacher, Teacher


@WORLDS.register("w0")
class FactWorld(World):
    """Keys and what is answered to them."""

    def __init__(self, source: FactSource):
        self.facts = Facts(alpha=source.alpha, n_records=source.n_records, seed=source.seed)

    @property
    def entropy(self) -> float:
        return self.facts.entropy

    def generator(self, teacher: Teacher) -> W0Generator:
        return W0Generator(self.facts, knowledge(self.facts, teacher), key_temperature(teacher))

    def mixture(self, teacher: Generator, share: float) -> MixtureGenerator:
        return FactMixture(self.generator(RealTeacher()), teacher, share)

    def backoff_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Without the key, each cue symbol and each answer symbol is as likely as any other."""
        real = self.generator(RealTeacher())
        out = np.zeros((*np.shape(sequences), real.vocab_size))
        out[:, ~real.scored, :BASE] = 1 / BASE
        out[:, real.scored, BASE : 2 * BASE] = 1 / BASE
        return out


@dataclass(frozen=True)
class FactMixture(MixtureGenerator):
    """A mixture whose divergence is a sum over all that can be read, where its teacher is right about the symbols."""

    def divergence(self) -> Divergence:
        teacher = self.teacher
        if isinstance(teacher, W0Generator) and isinstance(teacher.knowledge, Ranges):
            return mixed_divergence(teacher.world, teacher.knowledge, self.share)
        return super().divergence()
