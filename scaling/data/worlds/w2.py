"""W2, random hierarchy model: sequences are the leaves of a tree of random rules, with exact entropy.

A root symbol, one of v, is rewritten into s symbols of the level below by one of its m rules, each of those again, L
times; the s^L leaves are the sequence. All rules of a level are different, so a tree can be read back from its
leaves, and ``H = ln v + (s^L − 1)/(s − 1)·ln m`` nats a sequence: every rewriting is one free choice of m. A student
that has learned ℓ levels predicts as if the symbols of level ℓ were drawn alone, evenly; each level learned lowers
its loss by a step.

The teachers of this world are those students: *coverage* of the lowest ``top_keys`` levels, with a closed-form KL(p‖q).
*Noise* mixes the uniform distribution into every distribution, *temperature* sharpens or flattens each; their KL is
summed over contexts.

**Source:** Cagnetta et al. 2024, arXiv 2307.02129.
"""

from __future__ import annotations

import numpy as np

from scaling.data.worlds.w2_rules import Rules
from scaling.data.worlds.w2_teachers import W2Generator, teacher_generator
from scaling.data.worlds.world import WORLDS, World
from scaling.spec import HierarchySource, Teacher


@WORLDS.register("w2")
class HierarchyWorld(World):
    """Symbols and the rules that rewrite them."""

    def __init__(self, source: HierarchySource):
        self.rules = Rules(source.n_symbols, source.n_rules, source.branching, source.depth, source.seed)

    @property
    def entropy(self) -> float:
        return self.rules.entropy

    def generator(self, teacher: Teacher) -> W2Generator:
        return teacher_generator(self.rules, teacher)

    def backoff_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Without the top level."""
        return W2Generator(self.rules, self.rules.depth - 1).next_token_probs(sequences)
