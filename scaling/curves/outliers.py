"""Points of a curve that cannot belong to it: a crashed evaluation, a slipped decimal point, a loss in other units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
NEIGHBOURS = 3
"""Points on each side that say where a point should lie."""
FAR = 8.0
"""Robust standard deviations from its neighbours at which a point is left out, provided that it is also
`LEAST_FACTOR` off: a smooth curve scatters so little that a slight bend would be far."""
LEAST_FACTOR = 1.1
FEWEST_POINTS = 6
"""Below this, a bad point cannot be told from a bend."""


@dataclass(frozen=True)
class Outlier:
    """A point that was left out.

    Attributes:
        row: index in the arrays given.
        x, loss: the point.
        expected: loss that its neighbours let expect.
    """

    row: int
    x: float
    loss: float
    expected: float

    def __str__(self) -> str:
        factor = self.loss / self.expected
        return (
            f"row {self.row}: x={self.x:g}, loss={self.loss:g} is {factor:.3g} times what its neighbours let expect "
            f"({self.expected:.4g})"
        )


def far_points(u: Array, y: Array) -> dict[int, float]:
    """Indices of points far from their neighbours, and the log loss expected there.

    The most deviant point is judged by the scatter of the others without it, for a bad point also bends what is
    expected of its neighbours; then the next. At most a fifth of the points go: beyond that the scatter is the
    curve's own.

    Args:
        u, y: float64[n], sorted log x and log loss.

    Returns:
        {index: expected log loss}; empty for a curve of few points.
    """
    kept = np.arange(len(u))
    found: dict[int, float] = {}
    while len(kept) >= FEWEST_POINTS:
        on_line = _on_the_lines(u[kept], y[kept])
        expected = np.array([_nearest_expected(y[kept], line, i) for i, line in enumerate(on_line)])
        deviation = np.abs(y[kept] - expected)
        worst = int(np.argmax(deviation))
        # A bad point must not widen the scatter that it is judged by.
        rest = np.delete(kept, worst)
        scatter = 1.4826 * float(np.median(np.abs(y[rest] - _on_the_lines(u[rest], y[rest]))))
        if deviation[worst] < max(FAR * scatter, np.log(LEAST_FACTOR)):
            return found
        found[int(kept[worst])] = float(expected[worst])
        # So many are no accident: none is left out.
        if len(found) > len(u) // 5:
            return {}
        kept = rest
    return {}


def _on_the_lines(u: Array, y: Array) -> Array:
    """Log loss at each point from the line through its neighbours."""
    return np.array([_on_the_line(u, y, i) for i in range(len(u))])


def _nearest_expected(y: Array, on_line: float, at: int) -> float:
    """What is nearest to the point, among all that its neighbours let expect: anything from the line through them to
    the values of the nearest two. A curve that is flat before it falls does not lie on the line of its fall.
    """
    order = np.argsort(np.abs(np.arange(len(y)) - at), kind="stable")
    possible = [on_line, *y[order[1:3]]]
    return float(np.clip(y[at], min(possible), max(possible)))


def _on_the_line(u: Array, y: Array, at: int) -> float:
    """Log loss at one point from the line through its neighbours with the median slope (Theil and Sen)."""
    near = np.r_[max(0, at - NEIGHBOURS) : at, at + 1 : min(len(u), at + NEIGHBOURS + 1)]
    if at < NEIGHBOURS or at >= len(u) - NEIGHBOURS:  # an end has neighbours on one side only: as many there
        order = np.argsort(np.abs(np.arange(len(u)) - at), kind="stable")
        near = np.sort(order[1 : 2 * NEIGHBOURS + 1])
    left, right = np.triu_indices(len(near), 1)
    run = u[near][right] - u[near][left]
    slope = np.median((y[near][right] - y[near][left])[run > 0] / run[run > 0]) if (run > 0).any() else 0.0
    return float(np.median(y[near] - slope * (u[near] - u[at])))
