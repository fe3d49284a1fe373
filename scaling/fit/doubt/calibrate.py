"""Width of forecast intervals, learned from forecasts of larger runs that smaller fits did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaling.fit.evidence import Calibration
from scaling.fit.stack.validate import Score, Validation

Array = np.ndarray
LEVELS = tuple(
    np.round(np.concatenate([[0.0005, 0.0025], np.linspace(0.005, 0.995, 199), [0.9975, 0.9995]]), 6).tolist()
)
TAIL = 4
"""Degrees of freedom of the error distribution: forecasts of loss have occasional large errors, and few validation
fits to show them."""
PRIOR_SPREAD = 0.5
"""Before any validation, the model's own scale is trusted within this factor of e (one standard deviation)."""
FACTORS = np.exp(np.linspace(-1.5, 2.5, 41))
"""Between error and scale, far closer to each other than the prior is wide."""


def calibration(validation: Validation, noise: float, left: int) -> Calibration:
    """Distribution of errors in units of the predictive scale.

    The scale of a forecast is the root of (parameter doubt)^2 + (disagreement of laws)^2 + noise^2, times one factor
    for each way of going beyond the runs: in n, in d, or in both. Without validation the factors are one and the tail
    that of the degrees of freedom.

    Args:
        validation: forecasts of larger runs by the members.
        noise: scatter of one run, log loss.
        left: degrees of freedom of the fit, in trunks.

    Returns:
        Calibration.
    """
    from scipy.special import stdtrit  # scipy.stats would take a second to import

    scores = validation.scores
    return Calibration(
        levels=LEVELS,
        quantiles=tuple(float(q) for q in stdtrit(TAIL if scores else max(left, 2), LEVELS)),
        noise=noise,
        factors=inflation(honest(validation), [score.axis for score in scores]),
        basis="held-out" if scores else "in-sample",
        n_scores=sum(score.error.shape[1] for score in scores),
    )


def honest(validation: Validation) -> list[Array]:
    """Standardised errors of every cut, the members weighted by the other cuts."""
    return [standardised(score, weights) for score, weights in validation.forecast_by_others()]


def missed(validation: Validation) -> float:
    """Mean over the cuts of the logarithm of their mean absolute error, the members weighted by the other cuts."""
    errors = [np.abs(weights @ score.error) for score, weights in validation.forecast_by_others()]
    return float(np.mean([np.log(max(np.mean(error), 1e-12)) for error in errors])) if errors else 0.0


def standardised(score: Score, weights: Array) -> Array:
    """Error of the weighted forecast in units of its scale: float64[n_test]."""
    error = weights @ score.error
    noise = (weights @ score.noise) ** 2 * score.left
    variance = weights @ ((score.error - error) ** 2 + score.doubt**2) + noise
    return error / np.sqrt(np.maximum(variance, 1e-24))


def inflation(errors: Sequence[Array], axes: Sequence[str]) -> dict[str, float]:
    """Factor between the errors made and the scale claimed, for each axis of extrapolation.

    An axis without a cut of its own takes the factor of all cuts together.
    """
    return {axis: factor_along(axis, errors, axes) for axis in ("n", "d", "c")} if errors else {}


def factor_along(axis: str, errors: Sequence[Array], axes: Sequence[str]) -> float:
    """The factor of one axis."""
    own = [error for error, other in zip(errors, axes, strict=True) if other == axis]
    return expected_factor(own or errors)


def factor_inside(errors: Array) -> float:
    """Factor of forecasts between the runs: that of runs left out one cell at a time, and never below one.

    Args:
        errors: float64[n_runs], standardised, of each run from the runs of other cells and trunks; the laws saw it.
    """
    return max(1.0, expected_factor(list(errors[:, None])))


def expected_factor(errors: Sequence[Array]) -> float:
    """Root mean square of the factor over its posterior: the t likelihood of standardised errors, and a log-normal
    prior around one.

    A handful of cuts leaves the factor itself in doubt, and the variance of a forecast is the mean of the variances
    that it may have. The errors of one validation fit share that fit's mistake: together they count as one.
    """
    each = np.concatenate([[], *errors])
    counts = np.array([len(error) for error in errors], int)
    share = np.repeat(1 / counts, counts)
    density = (TAIL + 1) / 2 * np.log1p((each[:, None] / FACTORS) ** 2 / TAIL) + np.log(FACTORS)
    cost = np.log(FACTORS) ** 2 / (2 * PRIOR_SPREAD**2) + np.sum(share[:, None] * density, axis=0)
    chance = np.exp(cost.min() - cost)
    return float(np.sqrt(np.average(FACTORS**2, weights=chance)))


def cross_checked(validation: Validation, level: float = 0.9) -> Mapping[str, float]:
    """How the forecasts of each cut did, weighted by and with intervals calibrated on the other cuts alone.

    Returns:
        {"mare": mean absolute relative error, "coverage": share inside, "n_test": forecasts}; empty without scores.
    """
    from scipy.special import stdtrit

    if not validation.scores:
        return {}
    inside, errors = [], []
    for cut, (score, weights) in enumerate(validation.forecast_by_others()):
        others = validation.but(cut)
        factor = factor_along(score.axis, honest(others), [other.axis for other in others.scores])
        inside.append(np.abs(standardised(score, weights)) <= factor * stdtrit(TAIL, (1 + level) / 2))
        errors.append(np.abs(np.expm1(weights @ score.error)))
    flat = np.concatenate(errors)
    return {
        "mare": float(flat.mean()),
        "coverage": float(np.concatenate(inside).mean()),
        "level": level,
        "n_test": int(flat.size),
    }
