"""Laws of one-dimensional learning curves: loss as a function of one growing quantity.

That quantity x may be examples, tokens, steps or compute: M1 to M3 (M4 is in `sigmoid`) and the broken power law
(BNSL), which without a break is M2.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from scaling.curves.law import CurveLaw, floor_guesses, free_slope, log_above, positive, weighted_lines
from scaling.curves.sigmoid import LOG_FLOOR_DEPTH
from scaling.laws.law import Coefficient

Array = np.ndarray
CABALLERO = "Caballero et al. 2022, arXiv 2210.14891"


class Flat(CurveLaw):
    """L = E: the curve stays where it is. Weighted on its last point alone it is the "last value" forecast that a
    form must beat.
    """

    name = "last"
    title = "last value"
    coefficients = (positive("E", "nats"),)

    def formula(self, p, x):
        """The same everywhere."""
        return p.E * x.x**0.0

    def search_box(self, u, y):
        """Within the losses seen."""
        return np.array([y.min()]), np.array([y.max()])

    def draw_starts(self, u, y, weights, count, rng):
        """The answer."""
        return np.full((count, 1), np.average(y, weights=weights))

    def moved(self, theta, origin):
        """Has no unit of x."""
        return theta


class M1(CurveLaw):
    """L = A/x^alpha: a pure power law.

    **Source:** Hestness et al. 2017, arXiv 1712.00409; M1 of Alabdulmohsin et al. 2022, arXiv 2209.06640.
    """

    name = "m1"
    title = "power law, M1"
    source = "Hestness et al. 2017, arXiv 1712.00409"
    coefficients = (positive("A"), free_slope("alpha"))

    def formula(self, p, x):
        """A power without a floor."""
        return p.A * x.x**-p.alpha

    def search_box(self, u, y):
        """A line: all but unbounded."""
        return np.array([-60.0, -5.0]), np.array([60.0, 5.0])

    def draw_starts(self, u, y, weights, count, rng):
        """Linear in its search vector, so any start will do."""
        return np.zeros((count, 2))

    def moved(self, theta, origin):
        """A absorbs the change of unit."""
        return np.array([theta[0] + theta[1] * origin, theta[1]])


class M3(CurveLaw):
    """L = A (1/x + gamma)^alpha: a power law that saturates at A gamma^alpha.

    **Source:** Bansal et al. 2022, arXiv 2202.01994; M3 of Alabdulmohsin et al. 2022, arXiv 2209.06640.
    """

    name = "m3"
    title = "saturating power law, M3"
    source = "Bansal et al. 2022, arXiv 2202.01994"
    coefficients = (positive("A"), positive("gamma"), free_slope("alpha"))

    def formula(self, p, x):
        """A power of a sum."""
        return p.A * (1 / x.x + p.gamma) ** p.alpha

    def search_box(self, u, y):
        """The turn lies within e^8 of the data."""
        return np.array([-60.0, -u[-1] - 8, -5.0]), np.array([60.0, -u[0] + 2, 5.0])

    def draw_starts(self, u, y, weights, count, rng):
        """A turn anywhere, then a line."""
        low, high = self.search_box(u, y)
        gamma = rng.uniform(low[1], high[1], count)
        log_sum = np.logaddexp(-u, gamma[:, None])
        lines = weighted_lines(np.stack([np.ones_like(log_sum), log_sum], 1), np.tile(y, (count, 1)), weights)
        return np.clip(np.stack([lines[:, 0], gamma, lines[:, 1]], 1), low, high)

    def moved(self, theta, origin):
        """A and gamma absorb the change of unit."""
        return np.array([theta[0] + theta[2] * origin, theta[1] - origin, theta[2]])


class BNSL(CurveLaw):
    """L = E + B x^-c0 prod_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i): a power law with smooth breaks at d_i; none is M2.

    Subclasses give the number of `breaks`, and the coefficients that belong to it.

    **Source:** Caballero et al. 2022, arXiv 2210.14891, eq. 1.
    """

    breaks: ClassVar[int]
    source = CABALLERO

    def formula(self, p, x):
        """In logarithms, so that no power of x/d_i overflows."""
        u = np.log(x.x)
        decay = -(p.c0 * u)
        for i in range(1, self.breaks + 1):
            slope, place, width = (getattr(p, f"{letter}{i}") for letter in "cdf")
            decay = decay - slope * width * np.logaddexp(0.0, (u - np.log(place)) / width)
        return p.E + p.B * np.exp(decay)

    def search_box(self, u, y):
        """A break needs points on both sides (three, where there are eight): otherwise it describes one noisy
        point.
        """
        k, side = self.breaks, 3 if len(u) >= 8 else len(u) // 3
        first, last = u[side], max(u[-1 - side], u[side] + 1e-3)
        low = [y.min() - LOG_FLOOR_DEPTH, -60.0, -2.0] + [-5.0] * k + [first] * k + [math.log(0.05)] * k
        high = [y.min(), 60.0, 5.0] + [5.0] * k + [last] * k + [math.log(3.0)] * k
        return np.array(low), np.array(high)

    def draw_starts(self, u, y, weights, count, rng):
        """Floor, breaks and their widths anywhere, then lines between them."""
        low, high = self.search_box(u, y)
        d = np.sort(rng.uniform(u[0], u[-1], (count, self.breaks)), axis=1)
        log_f = rng.uniform(math.log(0.08), math.log(1.5), (count, self.breaks))
        f = np.exp(log_f)[..., None]
        floor = floor_guesses(y, count, rng)
        lines = np.broadcast_to(np.stack([np.ones_like(u), -u]), (count, 2, len(u)))
        bends = -f * np.logaddexp(0.0, (u - d[..., None]) / f)
        solved = weighted_lines(np.concatenate([lines, bends], 1), log_above(y, floor), weights)
        return np.clip(np.concatenate([np.log(floor)[:, None], solved, d, log_f], 1), low, high)

    def moved(self, theta, origin):
        """B and the breaks absorb the change of unit."""
        shift = np.zeros_like(theta)
        shift[1], shift[3 + self.breaks : 3 + 2 * self.breaks] = theta[2] * origin, origin
        return theta + shift


def _broken(breaks: int) -> tuple[Coefficient, ...]:
    """Floor, power law, and the slope, place and width of each break."""
    count = range(1, breaks + 1)
    slopes, places, widths = ([make(f"{letter}{i}") for i in count] for make, letter in _BREAK)
    return (positive("E", "nats"), positive("B"), free_slope("c0"), *slopes, *places, *widths)


_BREAK = ((free_slope, "c"), (positive, "d"), (positive, "f"))


class M2(BNSL):
    """L = E + B x^-c0: a power law with an offset."""

    name = "m2"
    title = "power law with a floor, M2"
    breaks = 0
    coefficients = _broken(0)


class OneBreak(BNSL):
    """A power law with an offset and one smooth break."""

    name = "bnsl1"
    title = "power law with one break"
    breaks = 1
    coefficients = _broken(1)


class TwoBreaks(BNSL):
    """A power law with an offset and two smooth breaks."""

    name = "bnsl2"
    title = "power law with two breaks"
    breaks = 2
    coefficients = _broken(2)
