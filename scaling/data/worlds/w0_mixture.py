"""How far a mixture of W0 and a teacher of it is from W0: a sum over all that a reader can have seen.

What a text so far tells of its generator is the log odds of the world against the teacher, and an answer moves them by
one of few amounts: by which favoured symbol it is, or none. So the distribution of the odds after each answer is a
short list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.worlds.generator import Divergence, kl_divergence, split_divergence
from scaling.data.worlds.w0_facts import N_ANSWERS, Facts, answer_probs
from scaling.data.worlds.w0_teachers import Ranges

SAME = 9
"""Decimals to which log odds are told apart."""


@dataclass(frozen=True)
class Odds:
    """A distribution over log odds: float64[n] values and their probabilities, in the real world."""

    values: np.ndarray
    mass: np.ndarray

    def after(self, p: np.ndarray, q: np.ndarray) -> Odds:
        """The odds one answer later, where the world answers by p and the teacher by q: float64[32] each."""
        moved = self.values[:, None] + np.log(p / q)
        return _merged(moved.ravel(), (self.mass[:, None] * p).ravel())


def mixed_divergence(world: Facts, knowledge: Ranges, share: float) -> Divergence:
    """Exact ``Σ P(h)·KL(p_h‖q_h)`` of a mixture, nats per answer, split as for any teacher.

    Args:
        world: Whose text it is.
        knowledge: What the teacher believes; it asks for the same keys as the world.
        share: Of the sequences that are real.
    """
    p, ranges = answer_probs(), list(zip(knowledge.chances(world), knowledge.probs, strict=True))
    odds, parts = Odds(np.array([np.log(share / (1 - share))]), np.ones(1)), []
    for _ in range(world.n_records):
        ends = []
        for chance, q in ranges:
            here = odds
            for _ in range(N_ANSWERS):
                by_real = 1 / (1 + np.exp(-np.clip(here.values, -700, 700)))[:, None]
                kl = kl_divergence(p[None], by_real * p + (1 - by_real) * q)
                weight = chance * here.mass / (world.n_records * N_ANSWERS)
                parts.append(split_divergence(weight, kl, world.answer_gain))
                here = here.after(p, q)
            ends.append((here.values, chance * here.mass))
        odds = _merged(*(np.concatenate(column) for column in zip(*ends, strict=True)))
    return Divergence(coverage=sum(part.coverage for part in parts), noise=sum(part.noise for part in parts))


def _merged(values: np.ndarray, mass: np.ndarray) -> Odds:
    """Equal odds added up."""
    found, place = np.unique(np.round(values, SAME), return_inverse=True)
    return Odds(found, np.bincount(place, weights=mass, minlength=len(found)))
