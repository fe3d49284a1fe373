"""The size at which a budget gives the lowest loss, and how it grows with the budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scaling.fit.allocation.cost import SIX_ND, Cost

Array = np.ndarray
GRID = 241
SMALLEST, LARGEST = 1e3, 1e15
FLAT = 1e-12
"""Relative rise of the loss from its minimum to its neighbours that rounding could make."""
STEP = 0.5
"""Of log compute, to either side, over which an exponent is taken."""


def best_split(
    loss: Callable[[Array, Array], Array],
    budget: float,
    *,
    cost: Cost = SIX_ND,
    low: float = SMALLEST,
    high: float = LARGEST,
) -> Array:
    """Size that minimises the loss along a budget: a grid, then a parabola through its lowest point.

    Args:
        loss: from n, d float64[n_points] to float64[..., n_points].
        budget: FLOPs.
        cost: of a training.
        low, high: range of sizes.

    Returns:
        float64[...]: the best n; 0 where the loss falls down to the smallest size and inf where it falls up to the
        largest, for an end of the grid is no optimum.
    """
    grid = np.linspace(math.log(low), math.log(high), GRID)
    tokens = cost.tokens(np.exp(grid), budget)
    can = tokens > 0
    if can.sum() < 3:
        return np.asarray(0.0)
    grid, values = grid[can], np.asarray(loss(np.exp(grid[can]), tokens[can]), float)
    lowest = values.argmin(-1)
    last = len(grid) - 1
    inside = np.clip(lowest, 1, last - 1)
    left, middle, right = (np.take_along_axis(values, (inside + s)[..., None], -1)[..., 0] for s in (-1, 0, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        bend = left - 2 * middle + right
        shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1.0), 0.0)
    best = np.exp(grid[inside] + np.clip(shift, -1, 1) * (grid[1] - grid[0]))
    # A minimum no deeper than rounding is a plateau, and a plateau reaches to the end of the grid.
    flat = ~(bend > FLAT * np.abs(middle))
    return np.where((lowest == 0), 0.0, np.where((lowest == last) | flat, np.inf, best))


def growth(loss: Callable[[Array, Array], Array], budget: float, *, cost: Cost = SIX_ND) -> Array:
    """d log N* / d log C about a budget: float64[...]; NaN where an end has no optimum inside."""
    below, above = (best_split(loss, budget * math.exp(side * STEP), cost=cost) for side in (-1, 1))
    usable = (below > 0) & (above > 0) & np.isfinite(below) & np.isfinite(above)
    ratio = np.where(usable, above, 1.0) / np.where(usable, below, 1.0)
    return np.where(usable, np.log(ratio) / (2 * STEP), np.nan)


def weighted_quantiles(values: Array, weights: Array, level: float) -> tuple[float, float]:
    """Ends of a central interval of weighted values, infinite ones among them."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    low, high = (
        float(values[order][min(int(np.searchsorted(cumulative, q)), len(values) - 1)])
        for q in ((1 - level) / 2, (1 + level) / 2)
    )
    return low, high
