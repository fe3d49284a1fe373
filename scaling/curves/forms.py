"""Laws of one-dimensional learning curves: loss as a function of one growing quantity.

That quantity x may be examples, tokens, steps or compute: M1 to M4 and the broken power law (BNSL) with any number of
breaks, of which none is M2.
"""

from __future__ import annotations

import difflib
import math

import numpy as np

from scaling.curves.law import (
    CurveLaw,
    floor_guesses,
    free_slope,
    log_above,
    positive,
    softplus_sigmoid,
    weighted_lines,
)
from scaling.errors import SpecError

Array = np.ndarray
LOG_FLOOR_DEPTH = 8.0
"""A floor e^-8 below the lowest loss seen cannot be told from no floor at all."""


class Flat(CurveLaw):
    """L = E: the curve stays where it is. Weighted on its last point alone it is the "last value" forecast that a
    form must beat.
    """

    name = "last"
    template = "{E}"
    coefficients = (positive("E", "nats"),)

    def log_loss(self, theta, u):
        """log E."""
        return np.repeat(theta, len(u), axis=1), np.ones((len(theta), 1, len(u)))

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
    """L = A x^-alpha: a pure power law.

    **Source:** Hestness et al. 2017, arXiv 1712.00409; M1 of Alabdulmohsin et al. 2022, arXiv 2209.06640.
    """

    name = "m1"
    template = "{A} x^-{alpha}"
    source = "Hestness et al. 2017, arXiv 1712.00409"
    coefficients = (positive("A"), free_slope("alpha"))

    def log_loss(self, theta, u):
        """log A - alpha u."""
        slope = np.empty((len(theta), 2, len(u)))
        slope[:, 0], slope[:, 1] = 1.0, -u
        return theta[:, :1] - theta[:, 1:] * u, slope

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
    template = "{A} (1/x + {gamma})^{alpha}"
    source = "Bansal et al. 2022, arXiv 2202.01994"
    coefficients = (positive("A"), positive("gamma"), free_slope("alpha"))

    def log_loss(self, theta, u):
        """log A + alpha log(e^-u + gamma)."""
        gamma, alpha = theta[:, 1:2], theta[:, 2:3]
        log_sum = np.logaddexp(-u, gamma)
        slope = np.empty((len(theta), 3, len(u)))
        slope[:, 0], slope[:, 1], slope[:, 2] = 1.0, alpha * np.exp(gamma - log_sum), log_sum
        return theta[:, :1] + alpha * log_sum, slope

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


class M4(CurveLaw):
    """(L - E)/(L0 - L)^a = B x^-c: sigmoid-like, from the untrained loss L0 down to the floor E.

    The equation has one root between E and L0; with s = (L - E)/(L0 - E) and s = 1/(1 + e^-z) it reads
    a softplus(z) - softplus(-z) = log B - c u - (1 - a) log(L0 - E), which Newton's method solves in z.

    **Source:** Alabdulmohsin et al. 2022, arXiv 2209.06640.
    """

    name = "m4"
    template = "root of (L - {E})/({L0} - L)^{a} = {B} x^-{c}"
    source = "Alabdulmohsin et al. 2022, arXiv 2209.06640"
    coefficients = (positive("E", "nats"), positive("L0", "nats"), positive("a"), positive("B"), free_slope("c"))

    def log_loss(self, theta, u):
        """log of the root, with derivatives by the implicit function theorem."""
        floor, a = np.exp(theta[:, :1]), np.exp(theta[:, 2:3])
        top = np.maximum(np.exp(theta[:, 1:2]), floor * (1 + 1e-6))
        span = top - floor
        z = _solve_odds(theta[:, 3:4] - theta[:, 4:5] * u - (1 - a) * np.log(span), a)
        plus, s = softplus_sigmoid(z)
        loss = floor + span * s
        rate = span * s * (1 - s) / ((1 - s) + a * s) / loss  # d log L / d right-hand side
        slope = np.empty((len(theta), 5, len(u)))
        slope[:, 0] = floor * ((1 - s) / loss + rate * (1 - a) / span)
        slope[:, 1] = top * (s / loss - rate * (1 - a) / span)
        slope[:, 2] = a * rate * (np.log(span) - plus)
        slope[:, 3], slope[:, 4] = rate, -u * rate
        return np.log(loss), slope

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


def _solve_odds(right: Array, a: Array) -> Array:
    """z with a softplus(z) - softplus(-z) = right, by Newton's method from its two asymptotes."""
    z = np.where(right < 0, right, right / a)
    for _ in range(40):
        plus, s = softplus_sigmoid(z)
        step = (a * plus - (plus - z) - right) / ((1 - s) + a * s)
        z = z - step
        if np.all(np.abs(step) <= 1e-11 * (1 + np.abs(z))):
            break
    return z


class BNSL(CurveLaw):
    """L = E + B x^-c0 prod_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i): a power law with smooth breaks at d_i; none is M2.

    **Source:** Caballero et al. 2022, arXiv 2210.14891, eq. 1.

    Args:
        breaks: number of breaks.
    """

    name = "bnsl"
    source = "Caballero et al. 2022, arXiv 2210.14891"

    def __init__(self, breaks: int = 1, **values: float):
        if breaks < 0:
            raise SpecError(f"a broken power law cannot have {breaks} breaks: give 0 or more")
        count = range(1, breaks + 1)
        object.__setattr__(self, "breaks", breaks)
        object.__setattr__(self, "name", f"bnsl{breaks}" if breaks else "m2")
        factors = [f"(1 + (x/{{d{i}}})^(1/{{f{i}}}))^(-{{c{i}}}*{{f{i}}})" for i in count]
        object.__setattr__(self, "template", " ".join(["{E} + {B} x^-{c0}", *factors]))
        bends = (
            [free_slope(f"c{i}") for i in count]
            + [positive(f"d{i}") for i in count]
            + [positive(f"f{i}") for i in count]
        )
        object.__setattr__(self, "coefficients", (positive("E", "nats"), positive("B"), free_slope("c0"), *bends))
        super().__init__(**values)

    def structure(self):
        """The number of breaks."""
        return {"breaks": self.breaks}

    def _bends(self, theta: Array) -> tuple[Array, Array, Array]:
        """(c, log d, log f), each float64[s, breaks, 1]."""
        return tuple(np.split(theta[:, 3:, None], 3, axis=1)) if self.breaks else (theta[:, 3:, None],) * 3

    def log_loss(self, theta, u):
        """log(E + e^g), g = log B - c0 u - sum_i c_i f_i softplus((u - log d_i)/f_i)."""
        c, d, log_f = self._bends(theta)
        f, k = np.exp(log_f), self.breaks
        z = (u - d) / f
        plus, s = softplus_sigmoid(z)
        decay = theta[:, 1:2] - theta[:, 2:3] * u - (c * f * plus).sum(1)
        value = np.logaddexp(theta[:, :1], decay)
        share = np.exp(decay - value)
        slope = np.empty((*theta.shape, len(u)))
        slope[:, 0], slope[:, 1], slope[:, 2] = 1 - share, share, -share * u
        share = share[:, None]
        slope[:, 3 : 3 + k] = -share * f * plus
        slope[:, 3 + k : 3 + 2 * k] = share * c * s
        slope[:, 3 + 2 * k :] = -share * c * f * (plus - z * s)
        return value, slope

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
        bends = -f * softplus_sigmoid((u - d[..., None]) / f)[0]
        solved = weighted_lines(np.concatenate([lines, bends], 1), log_above(y, floor), weights)
        return np.clip(np.concatenate([np.log(floor)[:, None], solved, d, log_f], 1), low, high)

    def moved(self, theta, origin):
        """B and the breaks absorb the change of unit."""
        shift = np.zeros_like(theta)
        shift[1], shift[3 + self.breaks : 3 + 2 * self.breaks] = theta[2] * origin, origin
        return theta + shift


def m2(**values: float) -> BNSL:
    """L = E + B x^-c0: a power law with an offset, the broken power law without a break."""
    return BNSL(breaks=0, **values)


CURVE_LAWS = {"last": Flat(), "m1": M1(), "m2": m2(), "m3": M3(), "m4": M4(), "bnsl1": BNSL(1), "bnsl2": BNSL(2)}
"""The forms of one-dimensional curves, without numbers."""


def curve_law(name: str) -> CurveLaw:
    """The curve form called `name` ("bnsl0" is "m2").

    Raises:
        SpecError: no curve form has that name; says which do.
    """
    forms = CURVE_LAWS | {"bnsl0": CURVE_LAWS["m2"]}
    if name not in forms:
        close = difflib.get_close_matches(name, forms, 1)
        hint = f" — did you mean {close[0]!r}?" if close else ""
        raise SpecError(f"unknown curve {name!r}: choose from auto, {', '.join(CURVE_LAWS)}{hint}")
    return forms[name]
