"""What a training costs: FLOPs of a size and a volume, 6 N D unless another rule is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaling.errors import SpecError
from scaling.tables.expression import evaluate

Array = np.ndarray
FLOPS_PER = 6.0
"""Training FLOPs for each parameter and token: two for the forward pass, four for the backward pass."""
MOST_TOKENS = 1e30
HALVINGS = 80
"""Of the logarithm of the volume: to one part in 1e22."""


@dataclass(frozen=True)
class Cost:
    """FLOPs of training n parameters on d tokens.

    Attributes:
        flops: from n, d float64[...] to float64[...]; it grows with d.
        text: how a reader is told of it.
    """

    flops: Callable[[Array, Array], Array]
    text: str

    def __call__(self, n: Array, d: Array) -> Array:
        return np.asarray(self.flops(np.asarray(n, float), np.asarray(d, float)), float)

    def tokens(self, n: Array, budget: float) -> Array:
        """Tokens that a budget leaves each size: float64[...]; zero where the size alone costs more.

        Raises:
            SpecError: the cost does not grow with d.
        """
        n = np.asarray(n, float)
        low, high = np.zeros_like(n), np.full_like(n, np.log(MOST_TOKENS))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            within = self(n, np.exp(middle)) <= budget
            low, high = np.where(within, middle, low), np.where(within, high, middle)
        affordable = self(n, np.ones_like(n)) <= budget
        if np.any(affordable & (self(n, np.exp(high) * 4) <= budget)):
            raise SpecError(
                f"the cost {self.text!r} does not grow with d: write FLOPs of n and d, as '6*n*d + 2*n*1e12'"
            )
        return np.where(affordable, np.exp(low), 0.0)

    def tokens_each(self, n: Array, budgets: Array) -> Array:
        """Tokens that each size is left by a budget of its own: float64[n_budgets]."""
        return np.array([float(self.tokens(np.asarray(size), float(c))) for size, c in zip(n, budgets, strict=True)])


@dataclass(frozen=True)
class SixND(Cost):
    """C = 6 N D: the forward and backward pass of every token, attention and embeddings left out.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, section 2.1.
    """

    flops: Callable[[Array, Array], Array] = lambda n, d: FLOPS_PER * n * d
    text: str = "6*n*d"

    def tokens(self, n: Array, budget: float) -> Array:
        """C / (6 N)."""
        return budget / (FLOPS_PER * np.asarray(n, float))


SIX_ND = SixND()


def cost_of(expression: str) -> Cost:
    """A cost from an expression over n and d, as "6*n*d + 2*n*1e12" for a model that will read 1e12 tokens in use.

    Raises:
        RecordError: the expression cannot be read, or names anything but n and d.
    """
    import pandas as pd

    def flops(n: Array, d: Array) -> Array:
        n, d = np.broadcast_arrays(n, d)
        table = pd.DataFrame({"n": n.ravel(), "d": d.ravel()})
        return np.asarray(evaluate(table, expression), float).reshape(n.shape)

    flops(np.ones(1), np.ones(1))  # says at once what cannot be read
    return Cost(flops, expression)
