"""Which weights become zero: those of least magnitude, or those that training moves towards zero.

Only the matrices of the blocks are thinned; a zero takes as many bytes as any other number, in every dense format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

CHOICE_STEPS = 8
"""Steps between two choices of the weights that are zero."""

Tree = dict[str, Any]
"""Arrays under the names of a student's parameters."""


@dataclass(frozen=True, kw_only=True)
class Sparsity:
    """How many weights become zero, and which.

    Attributes:
        zeros: Share of the blocks' weights, at the end.
        by: ``magnitude``: the least |w|. ``movement``: the least ``S = −Σ (∂L/∂w)·w`` over the steps so far.
        begin: Share of the steps before the first zero; a movement has to be seen first.
        end: Share of the steps at which the zeros are all there. Which weights they are stays so from there on.

    **Source:** Zhu & Gupta 2017, arXiv 1710.01878 (schedule); Sanh et al. 2020, arXiv 2005.07683 (movement).
    """

    zeros: float
    by: Literal["magnitude", "movement"] = "magnitude"
    begin: float = 0.0
    end: float = 0.5

    def share(self, progress: float) -> float:
        """Zeros at a point of the training: ``zeros·(1 − (1 − (progress − begin)/(end − begin))³)`` in between."""
        done = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.zeros * (1 - (1 - done) ** 3)

    def choices(self, steps: int) -> set[int]:
        """Steps before which the weights that are zero are chosen anew; the last time when all zeros are there."""
        return {*range(0, round(self.end * steps), CHOICE_STEPS), round(self.end * steps)}


def masks(scores: Tree, zeros: float) -> Tree:
    """1 where a weight stays and 0 where it goes, for all blocks at once: the least scores of all go.

    Args:
        scores: Importance of each weight; tensors that are not thinned may have any.
        zeros: Share of the thinned weights that go.
    """
    thinned = [np.asarray(leaf).ravel() for path, leaf in _leaves(scores) if is_thinned(path, leaf)]
    every = np.concatenate(thinned)
    count = round(zeros * len(every))
    # Between the last that goes and the first that stays.
    limit = np.partition(every, count)[count] if count < len(every) else np.inf
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.asarray(leaf >= limit if is_thinned(path, leaf) else np.ones_like(leaf), np.float32),
        scores,
    )


def is_thinned(path: Any, leaf: Any) -> bool:
    """Whether a parameter is a matrix of a block."""
    return leaf.ndim == 2 and any(getattr(part, "key", None) == "blocks" for part in path)


def _leaves(tree: Tree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]
