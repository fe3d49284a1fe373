"""What the curvature at an optimum says: covariance of the coefficients, condition, scatter of the runs.

There is one yardstick: the forecasts of a fit and those that validate it take their doubt from the same function here.
"""

from __future__ import annotations

import math

import numpy as np

from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.prior import Prior
from scaling.fit.solve.search import Optimum

Array = np.ndarray
BOUND = 1e-9
CENTRAL, NORMAL = 0.8, 1.2816
"""The scatter is read off where the absolute residual of a normal distribution has this quantile: beyond the few runs
that a law of k coefficients goes through, below the few that are bad."""
FEW_TRUNKS = 5
"""With fewer trunks their own residuals do not show how much noise they share (of three there are ten different
resamples, of two three)."""


def coordinate_jacobian(problem: Problem, u: Array) -> Array:
    """d residual / d search coordinates: float64[..., n_runs, k]."""
    theta = problem.decode(u)
    slope = problem.law.gradient(theta, problem.x) * problem.law.per_search(theta)[..., None, :]
    if problem.objective.log:
        slope = slope / problem.law.evaluate(theta, problem.x)[..., None]
    return slope


def inner(problem: Problem, u: Array) -> Array:
    """Coefficients that are neither held nor on a bound: bool[..., k]."""
    return problem.free & (u > problem.low + BOUND) & (u < problem.high - BOUND)


def weighted_jacobian(problem: Problem, optimum: Optimum) -> tuple[Array, Array]:
    """d residual / d search coordinates of the inner coefficients, rows times the root of their weight:
    float64[n_runs, k_inner]; and those roots."""
    root = np.sqrt(problem.weights)
    return coordinate_jacobian(problem, optimum.u)[:, inner(problem, optimum.u)] * root[:, None], root


def residuals(problem: Problem, u: Array) -> Array:
    """Of every run: float64[..., n_runs]."""
    return problem.objective.residual(problem.law.evaluate(problem.decode(u), problem.x), problem.loss)


def scatter(residual: Array, weights: Array, k: int) -> Array:
    """Standard deviation of one run of weight one, from a quantile of the absolute residuals: blind to a few bad runs.

    Args:
        residual: float64[..., n_runs].
        weights: float64[..., n_runs]; runs of weight zero do not count.
        k: coefficients that were fitted to them.

    Returns:
        float64[...].
    """
    used = (weights > 0) & ~np.isnan(residual)
    last = np.maximum(np.sum(used, axis=-1, keepdims=True) - 1, 0)
    # Runs that do not count are sorted behind the others; np.nanquantile would go through the fits one by one.
    size = np.sort(np.where(used, np.abs(residual) * np.sqrt(weights), np.inf), axis=-1)
    place = CENTRAL * last
    below = place.astype(int)
    low, high = (np.take_along_axis(size, np.minimum(at, last), axis=-1) for at in (below, below + 1))
    with np.errstate(invalid="ignore"):
        central = (low + (place - below) * (high - low))[..., 0]
    count = last[..., 0] + 1
    return central / NORMAL * np.sqrt(count / np.maximum(count - k, 1))


def efficiency(threshold: float, sigma: Array) -> Array:
    """Variance of a Huber estimate over that of least squares, for normal noise: E[psi^2] / (sigma E[psi'])^2, which is
    pi/2 for a threshold near zero."""
    from scipy.special import erf  # scipy.stats would take a second to import

    if np.isinf(threshold):
        return np.ones_like(sigma)
    c = np.maximum(threshold / np.maximum(sigma, 1e-300), 1e-3)
    inside = erf(c / math.sqrt(2))
    square = inside - 2 * c * np.exp(-c * c / 2) / math.sqrt(2 * math.pi) + c * c * (1 - inside)
    return square / inside**2


def covariance(
    problem: Problem, u: Array, *, weights: Array, prior: Prior | None = None, cluster: Array | None = None
) -> tuple[Array, Array]:
    """Of the coefficients, for a batch of fits of one problem.

    C = deff (J' W J / (v sigma^2) + prior)^-1, with sigma the scatter of the runs, v the efficiency of the objective
    and deff the variance that runs of one trunk add by sharing their noise.

    Args:
        problem: law, runs and objective.
        u: optima in search coordinates, float64[n_fits, k].
        weights: float64[n_fits, n_runs] they were fitted with.
        prior: of each fit, its precision in units of the log likelihood.
        cluster: int[n_runs]: runs that share noise.

    Returns:
        float64[n_fits, k, k] in search coordinates, zero for coefficients that are held or on a bound; and the scatter
        of one run, float64[n_fits].
    """
    free = inner(problem, u)
    residual = residuals(problem, u)
    sigma = np.maximum(scatter(residual, weights, int(problem.free.sum())), 1e-12)
    # A fit that ran into a corner may have slopes that are no numbers: they say nothing.
    slopes = np.nan_to_num(coordinate_jacobian(problem, u)) * free[:, None, :] * np.sqrt(weights)[..., None]
    variance = efficiency(problem.objective.threshold, sigma) * sigma**2
    information = slopes.transpose(0, 2, 1) @ slopes / variance[:, None, None]
    if prior is not None:
        information = information + prior.precision * (free[:, :, None] & free[:, None, :])
    # Coefficients are brought to one scale first: A and alpha differ by many orders of magnitude.
    diagonal = np.einsum("pii->pi", information)
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    outer = size[:, :, None] * size[:, None, :]
    found = np.linalg.pinv(information / outer, rcond=1e-12, hermitian=True) / outer
    if cluster is not None:
        limit = problem.objective.threshold
        score = np.clip(residual, -limit, limit) * np.sqrt(weights)
        # Scores of all coefficients together are compared in units of the covariance.
        values, axes = np.linalg.eigh(found)
        whitened = slopes @ (axes * np.sqrt(np.maximum(values, 0))[:, None, :]) * score[..., None]
        found = found * design_effect(whitened, weights, cluster)[:, None, None]
    return found, sigma


def design_effect(scores: Array, weights: Array, cluster: Array) -> Array:
    """Variance with noise shared inside trunks over that of independent runs, at least one: float64[n_fits].

    Squares of scores, float64[n_fits, n_runs, n_directions], are compared, first summed by trunk and then run by run.
    Below `FEW_TRUNKS` the runs of a trunk count as one.

    **Source:** Moulton 1986; Cameron and Miller 2015.
    """
    codes = np.unique(cluster, return_inverse=True)[1]
    if codes.max() + 1 == len(codes):
        return np.ones(len(scores))
    member = np.zeros((len(codes), codes.max() + 1))
    member[np.arange(len(codes)), codes] = 1
    used = weights > 0
    trunks = np.sum((used @ member) > 0, axis=-1)
    alone = np.sum(scores**2, axis=(1, 2))
    together = np.sum((member.T @ scores) ** 2, axis=(1, 2)) * trunks / np.maximum(trunks - 1, 1)
    shared = np.where(trunks < FEW_TRUNKS, used.sum(-1) / np.maximum(trunks, 1), together / np.maximum(alone, 1e-300))
    return np.maximum(shared, 1.0)


def robust_information(problem: Problem, optimum: Optimum) -> float:
    """Objective per unit of log likelihood: mean(psi^2)/mean(psi'), which for squares is the residual variance."""
    residual = residuals(problem, optimum.u)
    limit = problem.objective.threshold
    left = max(len(residual) - int(problem.free.sum()), 1)
    push = np.sum(problem.weights * np.clip(residual, -limit, limit) ** 2) / left
    return float(push / max(np.mean(np.abs(residual) <= limit), 1 / len(residual)))


def condition_number(problem: Problem, optimum: Optimum) -> float:
    """Ratio of the best to the worst determined direction, every coefficient in units of its own effect on the loss."""
    jacobian, _ = weighted_jacobian(problem, optimum)
    size = np.linalg.norm(jacobian, axis=0)
    if not (size > 0).all():
        return np.inf
    singular = np.linalg.svd(jacobian / size, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf
