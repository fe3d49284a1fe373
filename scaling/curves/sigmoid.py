"""M4, the curve that is given by an equation for its loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scaling.curves.law import CurveLaw, floor_guesses, free_slope, log_above, positive, weighted_lines
from scaling.laws.text import Text, let

Array = np.ndarray
LOG_FLOOR_DEPTH = 8.0
"""A floor e^-8 below the lowest loss seen cannot be told from no floor at all."""


class M4(CurveLaw):
    """(L - E)/(L0 - L)^a = B x^-c: sigmoid-like, from the untrained loss L0 down to the floor E.

    The equation has one root between E and L0: L = E + (L0 - E) s, where s/(1 - s)^a = B x^-c (L0 - E)^(a - 1).

    **Source:** Alabdulmohsin et al. 2022, arXiv 2209.06640.
    """

    name = "m4"
    title = "sigmoid curve, M4"
    source = "Alabdulmohsin et al. 2022, arXiv 2209.06640"
    coefficients = (positive("E", "nats"), positive("L0", "nats"), positive("a"), positive("B"), free_slope("c"))

    def formula(self, p, x):
        """The floor, and the share of the way down that is still to go."""
        span = np.fmax(p.L0 - p.E, 1e-300)
        odds = np.log(p.B) - p.c * np.log(x.x) + (p.a - 1) * np.log(span)
        return p.E + span * let("s", _share_left(odds, p.a))

    def search_box(self, u, y):
        """E below and L0 above all the losses; L0 at most twenty times the highest."""
        low = [y.min() - LOG_FLOOR_DEPTH, y.max() + 1e-3, math.log(0.05), -60.0, 0.0]
        return np.array(low), np.array([y.min(), y.max() + 3.0, math.log(20.0), 60.0, 8.0])

    def draw_starts(self, u, y, weights, count, rng):
        """E, L0 and a anywhere, then a line for B and c."""
        low, high = self.search_box(u, y)
        floor, log_a = floor_guesses(y, count, rng), rng.uniform(-1.5, 1.5, count)
        log_top = low[1] + rng.choice([1e-3, 0.02, 0.1, 0.5, 2.0], count)
        below = np.log(np.exp(log_top)[:, None] - np.exp(y))
        target = log_above(y, floor) - np.exp(log_a)[:, None] * below
        design = np.broadcast_to(np.stack([np.ones_like(u), -u]), (count, 2, len(u)))
        lines = weighted_lines(design, target, weights)
        return np.clip(np.stack([np.log(floor), log_top, log_a, lines[:, 0], lines[:, 1]], 1), low, high)

    def moved(self, theta, origin):
        """B absorbs the change of unit."""
        return theta + np.array([0, 0, 0, theta[4] * origin, 0])


def _share_left(log_right: Any, a: Any) -> Any:
    """s in (0, 1) with log s - a log(1 - s) = log_right.

    With s = 1/(1 + e^-z) that is a softplus(z) - softplus(-z) = log_right, which Newton's method solves. One more step
    in the caller's own arithmetic makes the first derivatives of a `Jet` exact.
    """
    if isinstance(log_right, Text):
        return Text.call("the root of s/(1 - s)^{} = {}", a, np.exp(log_right))
    z = _solve_odds(getattr(log_right, "value", log_right), getattr(a, "value", a))
    below, above = np.logaddexp(0.0, -z), np.logaddexp(0.0, z)
    share = np.exp(-below)
    slope = 1 - share + getattr(a, "value", a) * share
    z = z - (a * above - below - log_right) / slope
    return np.exp(-np.logaddexp(0.0, -z))


def _solve_odds(right: Array, a: Array) -> Array:
    """z with a softplus(z) - softplus(-z) = right, by Newton's method from its two asymptotes."""
    z = np.where(right < 0, right, right / a)
    for _ in range(40):
        small = np.exp(-np.abs(z))
        plus, share = np.maximum(z, 0) + np.log1p(small), np.where(z >= 0, 1.0, small) / (1 + small)
        step = (a * plus - (plus - z) - right) / ((1 - share) + a * share)
        z = z - step
        if np.all(np.abs(step) <= 1e-6 * (1 + np.abs(z))):
            break
    return z
