"""Resampling: how far the coefficients move when other trunks had been trained."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from scaling.fit.doubt.covariance import weighted_jacobian
from scaling.fit.solve.minimise import Problem, minimise
from scaling.fit.solve.search import Optimum

Array = np.ndarray
Resampling = Literal["pairs", "wild"]
LEVELS_KEPT = 3
WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
"""Webb's six-point weights are plus and minus these: mean 0, variance 1, and 6^G signs for G clusters instead of
2^G."""


REPLICATE_PRECISION = 1e-6
"""A replicate need not be known better than its own scatter: a gain this small moves it by a thousandth of a
standard error."""


def bootstrap(
    problem: Problem, optimum: Optimum, cluster: Array, *, count: int = 1000, seed: int = 0, how: Resampling = "pairs"
) -> Array:
    """Refit `count` resamplings of the trunks.

    "pairs": whole trunks are drawn with replacement; a draw that leaves fewer than three sizes or data volumes is drawn
    again, for it could not be fitted, and each text keeps a trunk. "wild": the design stays, and every trunk's
    residuals, corrected for leverage, are multiplied by one of Webb's six points; meant for least squares (with a Huber
    objective of small delta it is too narrow).

    Args:
        problem, optimum: the fit.
        cluster: int[n_runs]: runs of one trunk share noise.
        count: replicates.
        seed: of the draws.
        how: see above.

    Returns:
        float64[count, k]: coefficients of each replicate.

    **Source:** Cameron, Gelbach and Miller 2008; Webb 2023 (six points).
    """
    if not count:
        return np.empty((0, len(optimum.theta)))
    rng = np.random.default_rng(seed)
    codes = np.unique(cluster, return_inverse=True)[1]
    start = np.repeat(optimum.u[None], count, axis=0)
    refit = partial(minimise, problem, start, precision=REPLICATE_PRECISION)
    if how == "pairs":
        # A replicate is the same fit with other weights: how often its trunk was drawn.
        drawn = _draw_trunks(problem, codes, count, rng)
        ended = refit(weights=drawn[:, codes] * problem.weights)
    else:
        signs = rng.choice(np.concatenate([-WEBB, WEBB]), size=(count, codes.max() + 1))[:, codes]
        fitted = problem.law.evaluate(optimum.theta, problem.x)
        pushed = signs * leveraged_residual(problem, optimum, codes)
        loss = fitted * np.exp(-pushed) if problem.objective.log else fitted - pushed
        ended = refit(loss=loss)
    return problem.decode(ended.u[np.isfinite(ended.value)])


def _draw_trunks(problem: Problem, codes: Array, count: int, rng: np.random.Generator) -> Array:
    """How often each trunk is drawn, by replicate: float64[count, n_trunks]; every draw keeps three levels of both
    axes if the runs do."""
    groups = codes.max() + 1
    share = np.full(groups, 1 / groups)
    drawn = rng.multinomial(groups, share, size=count)
    axes = [np.round(np.log(getattr(problem.x, axis)), 2) for axis in ("n", "d") if hasattr(problem.x, axis)]
    for _ in range(100):
        thin = np.zeros(count, bool)
        for axis in axes:
            thin |= _levels_drawn(drawn, axis, codes) < min(LEVELS_KEPT, len(np.unique(axis)))
        if not thin.any():
            break
        drawn[thin] = rng.multinomial(groups, share, size=int(thin.sum()))
    if hasattr(problem.x, "teacher"):
        _add_texts_left_out(drawn, problem.x.teacher[np.unique(codes, return_index=True)[1]], rng)
    return drawn.astype(float)


def _add_texts_left_out(drawn: Array, text: Array, rng: np.random.Generator) -> None:
    """Give each replicate a trunk of every text: nothing else decides the coefficient of a text, so that without one it
    would be anything.

    Args:
        drawn: int[count, n_trunks], changed in place.
        text: int[n_trunks].
        rng: Chooses among the trunks of a text.
    """
    for code in np.unique(text):
        own = np.flatnonzero(text == code)
        without = np.flatnonzero(drawn[:, own].sum(axis=1) == 0)
        drawn[without, rng.choice(own, size=len(without))] = 1


def _levels_drawn(drawn: Array, axis: Array, codes: Array) -> Array:
    """Distinct values of an axis among the runs of each replicate: int[count]."""
    order = np.argsort(axis, kind="stable")
    first = np.flatnonzero(np.diff(axis[order], prepend=-np.inf))
    return np.logical_or.reduceat(drawn[:, codes[order]] > 0, first, axis=1).sum(axis=1)


def leveraged_residual(problem: Problem, optimum: Optimum, codes: Array) -> Array:
    """Residuals as if each trunk had been left out of the fit (the CR3 correction): (I - H_gg)^-1 r_g."""
    jacobian, root = weighted_jacobian(problem, optimum)
    basis = np.linalg.svd(jacobian, full_matrices=False)
    keep = 1e-10 * basis.S[0] < basis.S
    q = basis.U[:, keep]
    fitted = problem.law.evaluate(optimum.theta, problem.x)
    out = problem.objective.residual(fitted, problem.loss) * root
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        hat = q[rows] @ q[rows].T
        # A trunk that alone determines a coefficient has leverage one: its residual says nothing and is left as it is.
        values, vectors = np.linalg.eigh(np.eye(len(rows)) - hat)
        out[rows] = vectors @ ((vectors.T @ out[rows]) / np.maximum(values, 0.05))
    return out / root
