"""The argument at which a falling loss reaches a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
LOG_RANGE = (-30.0, 200.0)
"""Exponents of e between which an argument is sought: from 1e-13 to 7e86."""

TOLERANCE = 1e-13
"""Of the exponent, and so relative of the argument."""

MOST_STEPS = 60
"""Enough for halving alone; most laws take a quarter of it."""


def where_it_falls_to(loss: Any, of: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Least argument at which a function that falls with it is no more than `loss`, sought in its logarithm.

    Args:
        loss: float64[...], broadcastable to `shape`.
        of: the function, elementwise on float64[*shape]; it is also asked for its value at infinity.
        shape: of the answer.

    Returns:
        float64[*shape], to a relative 1e-13; inf where no argument reaches that loss, 0 where every one does, as
        wherever the function does not depend on it.

    **Source:** Chandrupatla 1997, Advances in Engineering Software 28(3): inverse quadratic interpolation where it is
    safe, halving elsewhere.
    """
    target = np.broadcast_to(np.asarray(loss, float), shape)

    def gap(point: Array) -> Array:
        # A law with a logarithm of D says nothing of less than one token: surely too little.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            away = of(np.exp(point)) - target
        return np.where(np.isnan(away), np.inf, away)

    left, right = (np.full(shape, end) for end in LOG_RANGE)
    at_left, at_right = gap(left), gap(right)
    every, reachable = at_left < 0, (at_right <= 0) & (of(np.full(shape, np.inf)) < target)
    share = np.full(shape, 0.5)
    for _ in range(MOST_STEPS):
        middle = left + share * (right - left)
        at = gap(middle)
        # `left` is always the newest point, `right` the end of other sign, `former` the point that was given up.
        same = (at > 0) == (at_left > 0)
        former, at_former = np.where(same, left, right), np.where(same, at_left, at_right)
        right, at_right = np.where(same, right, left), np.where(same, at_right, at_left)
        left, at_left = middle, at
        width = np.abs(right - left)
        if np.all((width <= TOLERANCE) | (at == 0)):
            break
        share = _share(left, right, former, at_left, at_right, at_former)
        # Never nearer to an end than half the tolerance: else the last bit would be sought for ever.
        edge = np.minimum(0.5, 0.5 * TOLERANCE / np.maximum(width, TOLERANCE))
        share = np.clip(share, edge, 1 - edge)
    found = np.exp(np.where(at_left == 0, left, (left + right) / 2))
    return np.where(every, 0.0, np.where(reachable, found, np.inf))


def _share(a: Array, b: Array, c: Array, at_a: Array, at_b: Array, at_c: Array) -> Array:
    """Where from a to b the next point lies: by the parabola through three points if it rises all the way, else 1/2."""
    with np.errstate(all="ignore"):
        xi, phi = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        share = at_a / (at_b - at_a) * at_c / (at_b - at_c) + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (
            at_c - at_b
        )
    return np.where(safe & np.isfinite(share), share, 0.5)
