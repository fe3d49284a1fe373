"""Width of forecast intervals, learned from forecasts of larger runs that smaller fits did not see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaling.fit.evidence import Calibration
from scaling.fit.stack import Score

Array = np.ndarray
LEVELS = tuple(
    np.round(np.concatenate([[0.0005, 0.0025], np.linspace(0.005, 0.995, 199), [0.9975, 0.9995]]), 6).tolist()
)
TAIL = 5
"""Degrees of freedom of the error distribution: forecasts of loss have occasional large errors, and few validation
fits to show them."""
ERRORS_PER_CUT = 4
"""Errors of one validation fit share that fit's mistake; together they count as this many independent ones at most."""
PRIOR_SPREAD = 0.5
"""Before any validation, the model's own scale is trusted within this factor of e (one standard deviation)."""


def calibration(scores: Sequence[Score], weights: Array, noise: float, left: int) -> Calibration:
    """Distribution of errors in units of the predictive scale.

    The scale of a forecast is the root of (parameter doubt)^2 + (disagreement of laws)^2 + noise^2, times one factor.
    The factor maximises the t likelihood of the validation errors with a log-normal prior around one. Without
    validation the factor is one and the tail that of the degrees of freedom.

    Args:
        scores: validation forecasts.
        weights: of the laws, float64[n_laws].
        noise: scatter of one run, log loss.
        left: degrees of freedom of the fit, in trunks.

    Returns:
        Calibration.
    """
    from scipy.special import stdtrit  # scipy.stats would take a second to import

    quantiles = inflation(scores, weights) * stdtrit(TAIL if scores else max(left, 2), LEVELS)
    return Calibration(
        levels=LEVELS,
        quantiles=tuple(float(q) for q in quantiles),
        noise=noise,
        basis="held-out" if scores else "in-sample",
        n_scores=sum(len(score.rows) for score in scores),
    )


def standardised(score: Score, weights: Array) -> Array:
    """Error of the weighted forecast in units of its scale: float64[n_test]."""
    error = weights @ score.error
    variance = weights @ ((score.error - error) ** 2 + score.doubt**2) + score.noise**2
    return error / np.sqrt(variance)


def inflation(scores: Sequence[Score], weights: Array) -> float:
    """Most probable factor between the errors made and the scale claimed; one without scores."""
    factors = np.exp(np.linspace(-1.5, 2.5, 161))
    cost = np.log(factors) ** 2 / (2 * PRIOR_SPREAD**2)
    for score in scores:
        ratio = standardised(score, weights)[:, None] / factors
        density = (TAIL + 1) / 2 * np.log1p(ratio**2 / TAIL) + np.log(factors)
        cost = cost + min(ERRORS_PER_CUT, len(score.rows)) * density.mean(axis=0)
    return float(factors[cost.argmin()])


def cross_checked(scores: Sequence[Score], weights: Array, level: float = 0.9) -> dict[str, float]:
    """How the forecasts of each cut did, with intervals calibrated on the other cuts alone.

    Returns:
        {"mare": mean absolute relative error, "coverage": share inside, "n_test": forecasts}; empty without scores.
    """
    from scipy.special import stdtrit

    if not scores:
        return {}
    inside, errors = [], []
    for i, score in enumerate(scores):
        factor = inflation([*scores[:i], *scores[i + 1 :]], weights)
        inside.append(np.abs(standardised(score, weights)) <= factor * stdtrit(TAIL, (1 + level) / 2))
        errors.append(np.abs(np.expm1(weights @ score.error)))
    flat = np.concatenate(errors)
    return {
        "mare": float(flat.mean()),
        "coverage": float(np.concatenate(inside).mean()),
        "level": level,
        "n_test": int(flat.size),
    }
