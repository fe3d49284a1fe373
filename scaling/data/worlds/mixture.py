"""Real documents among a teacher's: every sequence is written by the world or by the teacher, independently.

The law of the next token weighs both writers by how well they explain the sequence so far,
``q(x | h) = Σ_w P(w | h)·q_w(x | h)`` with ``P(w | h) ∝ share_w·q_w(h)``: exact for any two languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.counter import generator, hash64
from scaling.data.worlds import w0_teachers
from scaling.data.worlds.language import Divergence, Language, averaged_divergence
from scaling.data.worlds.w0_mixture import mixed_divergence


@dataclass(frozen=True)
class Mixture:
    """A language spoken by two.

    Attributes:
        real: The world's own.
        teacher: The teacher's.
        share: Of the sequences that are real.
    """

    real: Language
    teacher: Language
    share: float

    @property
    def vocab_size(self) -> int:
        return self.real.vocab_size

    @property
    def bos(self) -> int:
        return self.real.bos

    @property
    def context(self) -> int:
        return self.real.context

    @property
    def scored(self) -> np.ndarray:
        return self.real.scored

    def sequences(self, seed: int, start: int, count: int) -> np.ndarray:
        both = (speaker.sequences(seed, start, count) for speaker in (self.real, self.teacher))
        return np.where(self.is_real(seed, start, count)[:, None], *both)

    def is_real(self, seed: int, start: int, count: int) -> np.ndarray:
        """Which of these sequences the world has written: bool[count]."""
        places = np.arange(start, start + count, dtype=np.uint64)
        return hash64(places, seed) < np.uint64(int(self.share * 2**64))

    def evaluation_sequences(self, count: int, seed: int) -> np.ndarray:
        """A fixed set with the exact share of real sequences: int32[count, T]."""
        is_real = generator(seed, "mixture evaluation").permutation(count) < round(self.share * count)
        both = (speaker.evaluation_sequences(count, seed) for speaker in (self.real, self.teacher))
        return np.where(is_real[:, None], *both)

    def next_token(self, sequences: np.ndarray) -> np.ndarray:
        """Exact law of every token given all before it: int[n, T] to float64[n, T, V]."""
        laws = [speaker.next_token(sequences) for speaker in (self.real, self.teacher)]
        surprise = [_surprise_before(law, sequences) for law in laws]
        odds = np.log(self.share / (1 - self.share)) + surprise[1] - surprise[0]
        by_real = (1 / (1 + np.exp(-np.clip(odds, -700, 700))))[..., None]
        return by_real * laws[0] + (1 - by_real) * laws[1]

    def gain(self, sequences: np.ndarray) -> np.ndarray:
        return self.teacher.gain(sequences)

    def divergence(self) -> Divergence:
        """KL from the world: in W0 summed over all that can be read, else averaged over a set (then with ``se``)."""
        if isinstance(self.real, w0_teachers.Speaker) and isinstance(self.teacher.knowledge, w0_teachers.Ranges):
            return mixed_divergence(self.real.world, self.teacher.knowledge, self.share)
        return averaged_divergence(self.real, self)


def _surprise_before(laws: np.ndarray, sequences: np.ndarray) -> np.ndarray:
    """``−ln q`` of all tokens before each: float64[n, T]; what a writer never writes counts as 10³ nats."""
    p = np.take_along_axis(laws, np.asarray(sequences)[..., None], axis=-1)[..., 0]
    surprise = np.where(p > 0, -np.log(np.where(p > 0, p, 1.0)), 1e3)
    return np.cumsum(surprise, axis=1) - surprise
