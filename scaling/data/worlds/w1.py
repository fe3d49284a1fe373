"""W1, order-2 Zipf–Markov: a language whose next symbol depends on the two before it, with exact entropy.

``P(c | a, b) = .1·p1(c) + .3·P1(c | b) + .6·P2(c | a, b)`` over V symbols. A student gains first from single symbols,
then from b, then from pairs, the frequent ones first: a smooth ladder like that of text, where W0 has facts. Sequences
start in the stationary distribution of pairs; scored are the tokens that have both predecessors.

The transitions are in ``w1_transitions.py``, the teachers in ``w1_teachers.py``.
"""

from __future__ import annotations

import numpy as np

from scaling.data.worlds.w1_teachers import W1Generator, teacher_generator
from scaling.data.worlds.w1_transitions import Transitions
from scaling.data.worlds.world import WORLDS, World
from scaling.spec import MarkovSource, Teacher


@WORLDS.register("w1")
class MarkovWorld(World):
    """Symbols and what follows them."""

    def __init__(self, source: MarkovSource):
        self.transitions = Transitions(n_symbols=source.n_symbols, context=source.context, seed=source.seed)

    @property
    def entropy(self) -> float:
        return self.transitions.entropy

    def generator(self, teacher: Teacher) -> W1Generator:
        return teacher_generator(self.transitions, teacher)

    def backoff_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Without the symbol before the last."""
        transitions = self.transitions
        out = np.zeros((*np.shape(sequences), transitions.n_symbols + 1))
        out[:, 0, :-1] = transitions.symbols
        out[:, 1:, :-1] = transitions.backoff[sequences[:, :-1]]
        return out
