"""Scatter of runs that changes with their size, where repeated seeds show it."""

from __future__ import annotations

import math

import numpy as np

from scaling.fit.doubt.covariance import residuals
from scaling.fit.doubt.scatter import SizeTrend, settings_of
from scaling.fit.identify import levels
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, robust_scale, search
from scaling.laws.law import ScalingLaw
from scaling.tables.observations import Observations

Array = np.ndarray
SIZES_NEEDED, REPEATS_NEEDED = 3, 10.0
ERRORS_NEEDED = 2.5
"""A slope this many standard errors from zero is used: of tables without one, one in eighty shows it by chance."""
SLOPE_SPREAD = 0.5
"""Of slopes before any seed is seen, d ln(standard deviation) / d ln n; the variance of a mean falls as 1/n."""
BAD = 10.0
"""A setting whose variance is this many times that of its size holds a bad run, which is not scatter."""
SMALLEST = 1e-6
"""Scatter of log loss below which runs are copies of each other."""
STEPS = 50


def size_trend(data: Observations, form: ScalingLaw, objective: Objective) -> SizeTrend | None:
    """How the scatter changes with size; None where repeats are too few to tell, or tell no change.

    Variances of log loss between runs of one setting are regressed on ln n by their gamma likelihood,
    sum dof/2 (eta + s^2 e^-eta) with eta = a + 2 b ln(n / centre) and b ~ N(0, .5^2).

    Args:
        data: runs.
        form: a law whose residuals say how much of the scatter is misfit.
        objective: in log loss.

    **Source:** Davidian and Carroll 1987 (variance functions).
    """
    if not objective.log or "n" not in data.columns:
        return None
    log_n, variance, dof = _repeats(data)
    if levels(np.exp(log_n)) < SIZES_NEEDED or dof.sum() < REPEATS_NEEDED or variance.max() < SMALLEST**2:
        return None
    centre = float(np.average(log_n, weights=dof))
    x = log_n - centre
    level, slope = _regressed(x, variance, dof)
    good = variance <= BAD * np.exp(level + 2 * slope * x)
    x, variance, dof = x[good], variance[good], dof[good]
    level, slope = _regressed(x, variance, dof)
    information = 2 * float(np.sum(dof * (x - np.average(x, weights=dof)) ** 2))
    if abs(slope) * math.sqrt(information) < ERRORS_NEEDED:
        return None
    # What seeds do not explain of the residuals is the law's misfit, which all sizes share.
    problem = make_problem(form, data, objective)
    first = search(problem, count=8)
    total = robust_scale(residuals(problem, first.u)) ** 2
    of_runs = float(np.median(np.exp(level + 2 * slope * (np.log(data.columns["n"]) - centre))))
    own, misfit = math.exp(level), max(total - of_runs, 0.0)
    ends = np.exp([log_n.min(), log_n.max()])
    return SizeTrend(slope, math.exp(centre), own / (own + misfit), float(ends[0]), float(ends[1]))


def _repeats(data: Observations) -> tuple[Array, Array, Array]:
    """ln n, variance of log loss and degrees of freedom of every setting with more than one run: float64[n_settings]
    each. Runs of one trunk share their noise, so they count by their trunks."""
    setting = settings_of(data.teacher, *data.columns.values())
    counts = np.bincount(setting)
    log_loss = np.log(data.loss)
    away = log_loss - (np.bincount(setting, log_loss) / counts)[setting]
    repeated = counts > 1
    if not repeated.any():
        return np.empty(0), np.empty(0), np.empty(0)
    dof = counts[repeated] - 1.0
    variance = np.bincount(setting, away**2)[repeated] / dof
    log_n = (np.bincount(setting, np.log(data.columns["n"])) / counts)[repeated]
    part = repeated[setting]
    return log_n, variance, dof * len(np.unique(data.cluster[part])) / part.sum()


def _regressed(x: Array, variance: Array, dof: Array) -> tuple[float, float]:
    """a and b of ln variance = a + 2 b x, by Newton's method on a convex cost."""
    at = np.array([math.log(np.average(variance, weights=dof)), 0.0])
    design = np.stack([np.ones_like(x), 2 * x], axis=1)
    prior = np.diag([0.0, SLOPE_SPREAD**-2])
    for _ in range(STEPS):
        ratio = variance * np.exp(-(design @ at))
        gradient = design.T @ (dof / 2 * (1 - ratio)) + prior @ at
        # Expected rather than observed curvature: steps stay short where a variance is nearly zero.
        step = np.linalg.solve((design * (dof / 2)[:, None]).T @ design + prior, gradient)
        at = at - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return float(at[0]), float(at[1])
