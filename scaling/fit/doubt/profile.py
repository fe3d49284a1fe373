"""Interval of one coefficient from the profile of the objective, able to say that there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from scaling.fit.doubt.covariance import design_effect, inner, residuals, robust_information, weighted_jacobian
from scaling.fit.solve.minimise import Problem, minimise
from scaling.fit.solve.search import Optimum
from scaling.numbers import check_level

Array = np.ndarray


@dataclass(frozen=True)
class Profile:
    """Objective as a function of one coefficient, all others refitted.

    Attributes:
        name: the coefficient.
        level: of the interval.
        low, high: ends; None where the objective never rises enough: not identified on that side.
        values, objective: float64[n_points]: the curve.
    """

    name: str
    level: float
    low: float | None
    high: float | None
    values: Array
    objective: Array

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.name} in [{self.low:.4g}, {self.high:.4g}] at {self.level:.0%}"
        if self.low is not None:
            return f"{self.name} above {self.low:.4g} at {self.level:.0%}; not identified above that"
        if self.high is not None:
            return f"{self.name} below {self.high:.4g} at {self.level:.0%}; not identified below that"
        return f"{self.name} is not identified at {self.level:.0%}"


def profile(
    problem: Problem, optimum: Optimum, name: str, *, level: float = 0.9, points: int = 61, cluster: Array | None = None
) -> Profile:
    """Interval of one coefficient from the profile of the objective.

    The rise allowed is that of a robust likelihood-ratio test: 2 (F - F_min) mean(psi') / mean(psi^2) < chi2(level).

    Args:
        problem, optimum: the fit; all its basins are followed.
        name: coefficient.
        level: of the interval.
        points: of the curve.
        cluster: int[n_runs]: runs that share noise; the threshold grows with the variance that the sharing adds to
            this coefficient.

    Returns:
        Profile; an end is None where the curve stays below the threshold as far as the bound of the coefficient, or
        e^12 times it.

    **Source:** Ronchetti 1982 (robust likelihood ratio); Raue et al. 2009 (profile identifiability).
    """
    check_level(level)
    index = problem.law.names.index(name)
    centre = optimum.u[index]
    # Points lie close together near the optimum and far apart at the ends, where only the trend matters.
    reach = 12.0 if problem.is_log[index] else 8 * max(abs(centre), 0.1)
    spacing = np.sinh(np.linspace(0, 6, points // 2 + 1)[1:]) / np.sinh(6) * reach
    grid = np.concatenate([centre - spacing[::-1], [centre], centre + spacing])
    grid = np.unique(np.clip(grid, problem.low[index], problem.high[index]))
    # Held beside whatever else decides the objective, as a prior.
    held = replace(problem, held=(*problem.held, name))
    best = _follow(held, optimum, index, grid)
    allowed = _allowed_rise(problem, optimum, level) * (
        1.0 if cluster is None else effect_on_coefficient(problem, optimum, index, cluster)
    )
    rise = best - best.min()
    inside = rise <= allowed
    values = np.exp(grid) if problem.is_log[index] else grid
    first, last = np.flatnonzero(inside)[[0, -1]]
    low = _crossing(grid, rise, first - 1, first, allowed) if first > 0 else None
    high = _crossing(grid, rise, last, last + 1, allowed) if last < len(grid) - 1 else None

    def value(end: float | None) -> float | None:
        return math.exp(end) if end is not None and problem.is_log[index] else end

    return Profile(name, level, value(low), value(high), values, best / problem.objective.unit)


def effect_on_coefficient(problem: Problem, optimum: Optimum, index: int, cluster: Array) -> float:
    """`design_effect` on the variance of one coefficient; one for a coefficient that is held or on a bound.

    Its scores are clipped residuals times the part of its own slope that no other coefficient can imitate.
    """
    free = np.flatnonzero(inner(problem, optimum.u))
    if index not in free:
        return 1.0
    jacobian, root = weighted_jacobian(problem, optimum)
    own = free == index
    slope, others = jacobian[:, own], jacobian[:, ~own]
    if others.size:
        slope = slope - others @ np.linalg.lstsq(others, slope, rcond=None)[0]
    limit = problem.objective.threshold
    score = np.clip(residuals(problem, optimum.u), -limit, limit) * root
    return float(design_effect((slope * score[:, None])[None], problem.weights[None], cluster)[0])


def _follow(held: Problem, optimum: Optimum, index: int, grid: Array) -> Array:
    """Lowest objective at every grid value, from all basins, each point then restarted from its neighbours' ends."""
    basins = optimum.basins[:6]
    starts = np.repeat(basins, len(grid), axis=0)
    starts[:, index] = np.tile(grid, len(basins))
    smooth = minimise(held, starts, threshold=np.inf)
    ended = minimise(held, np.concatenate([starts, smooth.u]))
    value = ended.value.reshape(-1, len(grid))
    u = ended.u.reshape(-1, len(grid), grid_width := starts.shape[1])
    best, where = value.min(0), u[value.argmin(0), np.arange(len(grid))]
    for _ in range(6):
        near = np.concatenate([where[[0, *range(len(grid) - 1)]], where[[*range(1, len(grid)), len(grid) - 1]]])
        near[:, index] = np.tile(grid, 2)
        again = minimise(held, near)
        value, u = again.value.reshape(2, -1), again.u.reshape(2, len(grid), grid_width)
        pick = value.argmin(0)
        better = value.min(0) < best * (1 - 1e-10)
        best = np.where(better, value.min(0), best)
        where = np.where(better[:, None], u[pick, np.arange(len(grid))], where)
        if not better.any():
            break
    return best


def _allowed_rise(problem: Problem, optimum: Optimum, level: float) -> float:
    from scipy.special import fdtri  # scipy.stats would take a second to import

    left = max(len(problem.loss) - int(problem.free.sum()), 1)
    return float(fdtri(1, left, level) * robust_information(problem, optimum) / 2)


def _crossing(grid: Array, rise: Array, i: int, j: int, allowed: float) -> float:
    """Linear interpolation, in root-rise where the profile is nearly straight, of where the curve crosses the
    threshold."""
    a, b = np.sqrt(max(rise[i], 0.0)), np.sqrt(max(rise[j], 0.0))
    share = (np.sqrt(allowed) - a) / (b - a) if b != a else 0.5
    return float(grid[i] + share * (grid[j] - grid[i]))
