"""Runs of one budget, and the parabola of their loss over log size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scaling.fit.allocation.cost import SIX_ND, Cost

Array = np.ndarray
SAME_BUDGET = 0.1
"""Runs whose log compute differs by less belong to one budget …"""
WIDEST_BUDGET = 0.3
"""… unless they chain further than this: compute that is spread evenly is no set of budgets."""
SIZES_NEEDED = 4
FARTHEST = math.log(8.0)
"""A vertex further outside the sizes than this is no place to train at; twice the last size is."""


@dataclass(frozen=True)
class Parabola:
    """loss = c + slope x + bend x^2 through the runs of one budget, x = log n less its mean.

    Attributes:
        budget: FLOPs.
        x: float64[n_runs].
        middle: mean of log n.
        coefficients: bend, slope, c.
        squares: sum of squared residuals.
    """

    budget: float
    x: Array
    middle: float
    coefficients: Array
    squares: float

    @property
    def vertex(self) -> float:
        """Size at the lowest loss; inf where the parabola opens downwards."""
        bend, slope, _ = self.coefficients
        return math.exp(min(self.middle - slope / (2 * bend), 700.0)) if bend > 0 else math.inf

    def redrawn(self, noise: float, count: int, rng: np.random.Generator) -> Array:
        """Vertices of parabolas through losses drawn about this one: float64[count]; NaN outside the sizes tried."""
        design = np.vander(self.x, 3)
        losses = design @ self.coefficients + rng.normal(0, noise, (count, len(self.x)))
        bend, slope, _ = np.linalg.lstsq(design, losses.T, rcond=None)[0]
        at = np.where(bend > 0, -slope / (2 * np.where(bend > 0, bend, 1.0)), np.nan)
        return np.where((at > self.x.min()) & (at < self.x.max()), np.exp(self.middle + at), np.nan)


def parabolas(n: Array, d: Array, loss: Array, *, cost: Cost = SIX_ND) -> tuple[list[Parabola], list[str]]:
    """Parabolas of the budgets with a minimum inside their sizes, and a sentence for each other budget."""
    logs = np.log(cost(n, d))
    found, left_out = [], []
    for rows in same_budget(logs):
        budget = math.exp(logs[rows].mean())
        sizes = np.unique(n[rows])
        if len(sizes) < SIZES_NEEDED:
            left_out.append(f"C = {budget:.3g}: {len(sizes)} sizes, a parabola needs {SIZES_NEEDED}")
            continue
        x, middle = np.log(n[rows]) - np.log(n[rows]).mean(), float(np.log(n[rows]).mean())
        coefficients = np.polyfit(x, loss[rows], 2)
        squares = float(np.sum((loss[rows] - np.polyval(coefficients, x)) ** 2))
        one = Parabola(budget, x, middle, coefficients, squares)
        if sizes[0] < one.vertex < sizes[-1]:
            found.append(one)
        else:
            left_out.append(_outside(one, sizes, loss[rows], n[rows]))
    return found, left_out


def same_budget(logs: Array) -> list[Array]:
    """Rows of equal compute, from the logarithms of it."""
    order = np.argsort(logs)
    groups: list[list[int]] = []
    for row in order:
        near = groups and logs[row] - logs[groups[-1][-1]] <= SAME_BUDGET
        if near and logs[row] - logs[groups[-1][0]] <= WIDEST_BUDGET:
            groups[-1].append(int(row))
        else:
            groups.append([int(row)])
    return [np.array(group) for group in groups]


def _outside(one: Parabola, sizes: Array, loss: Array, n: Array) -> str:
    """Which size would put the minimum of a budget inside its sizes."""
    rising = loss[n.argmin()] < loss[n.argmax()]
    end, beyond = (sizes[0], 0.5) if rising else (sizes[-1], 2.0)
    vertex = one.vertex
    outside = vertex < sizes[0] if rising else vertex > sizes[-1]
    near = outside and math.isfinite(vertex) and abs(math.log(vertex / end)) < FARTHEST
    # Beyond the vertex as far as it lies from the last size, so that it comes to lie inside.
    add = vertex * (vertex / end) if near else end * beyond
    side = "smallest" if rising else "largest"
    return f"C = {one.budget:.3g}: the loss is lowest at its {side} size {end:.3g}; add N = {add:.3g}"
