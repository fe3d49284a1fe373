"""A loss surface solved for one of its arguments, and for the cheapest pair of both."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scaling.laws.inverse import where_it_falls_to

Array = np.ndarray
Surface = Callable[[Array, Array], Array]
"""Loss as a function of N and D, both float64[k]; infinite values give the limit."""

Cost = Callable[[Array, Array], Array]
"""What N parameters trained on D tokens cost; it grows with both."""

LOG_SIZES = (0.0, 120.0)
GRID = 241
ZOOMS = 4
"""Grids, each about the best point of the one before: 120 / (240 · 60³) of log N at the end."""


def tokens_for(surface: Surface, loss: float, n_params: Array) -> Array:
    """D at which each size reaches a loss: float64[k]; inf where no data suffices, 0 where any does."""
    return where_it_falls_to(loss, lambda n_tokens: surface(n_params, n_tokens), n_params.shape)


def size_for(surface: Surface, loss: float, n_tokens: Array) -> Array:
    """N at which each volume reaches a loss: float64[k]; inf where no size suffices, 0 where any does."""
    return where_it_falls_to(loss, lambda n_params: surface(n_params, n_tokens), n_tokens.shape)


def training_product(n_params: Array, n_tokens: Array) -> Array:
    """N·D, to which the FLOPs of a training are proportional."""
    return n_params * n_tokens


def cheapest_training(surface: Surface, loss: float, cost: Cost = training_product) -> tuple[float, float]:
    """N and D that reach a loss at the least cost, by default with the least N·D.

    Returns:
        (N, D); (inf, inf) where none does, or where the cost falls all the way to one parameter or one token, which is
        no answer of the law.
    """
    low, high = LOG_SIZES
    for _ in range(ZOOMS):
        log_n = np.linspace(low, high, GRID)
        n_tokens = tokens_for(surface, loss, np.exp(log_n))
        with np.errstate(over="ignore"):
            costs = cost(np.exp(log_n), n_tokens)
        best = int(np.argmin(costs))
        if not math.isfinite(costs[best]) or log_n[best] <= 0 or n_tokens[best] <= 1:
            return math.inf, math.inf
        step = (high - low) / (GRID - 1)
        low, high = max(low, log_n[best] - 2 * step), min(high, log_n[best] + 2 * step)
    return math.exp(log_n[best]), float(n_tokens[best])
