"""The best value of a hyperparameter, from losses at several values of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class BestValue:
    """The minimum of loss = c + k (log x - log x_best)^2.

    Attributes:
        x: where the loss is lowest.
        log_se: standard error of log x.
        loss: at the minimum.
        curvature: k, loss per squared factor of e.
        rms: scatter of the losses about the parabola.
    """

    x: float
    log_se: float
    loss: float
    curvature: float
    rms: float


def fit_best_value(x: Array, loss: Array) -> BestValue:
    """A parabola in log x through losses, by least squares; its minimum with a standard error (delta method).

    Args:
        x: float64[n], values tried (learning rates, say), some repeated with other seeds.
        loss: float64[n], nats/token.

    Raises:
        FitError: fewer than four runs or three values, no minimum, or one outside the values tried.
    """
    u, y = np.log(np.asarray(x, float)), np.asarray(loss, float)
    if len(u) < 4 or len(np.unique(u)) < 3:
        raise FitError(f"an optimum needs four runs at three values or more, got {len(u)} at {len(np.unique(u))}")
    # Centred, so that the three coefficients hardly correlate.
    middle = u.mean()
    design = np.vander(u - middle, 3)
    (k, slope, c), *_ = np.linalg.lstsq(design, y, rcond=None)
    vertex = -slope / (2 * k) if k > 0 else math.inf
    if not u.min() - middle <= vertex <= u.max() - middle:
        raise FitError(
            f"the loss has no minimum between {math.exp(u.min()):g} and {math.exp(u.max()):g}; "
            f"it is lowest at {math.exp(u[y.argmin()]):g}: try values beyond it"
        )
    residual = y - design @ [k, slope, c]
    covariance = np.sum(residual**2) / (len(u) - 3) * np.linalg.inv(design.T @ design)
    gradient = np.array([slope / (2 * k * k), -1 / (2 * k), 0.0])
    return BestValue(
        x=math.exp(middle + vertex),
        log_se=math.sqrt(gradient @ covariance @ gradient),
        loss=c - k * vertex**2,
        curvature=k,
        rms=math.sqrt(np.mean(residual**2)),
    )
