"""What a fit minimises: a weighted sum, over runs, of a robust function of the residual.

The residual is log(predicted loss / measured loss) by default, so one nat at loss 8 counts as little as it should. The
sum, not the mean: optimisers that stop on an absolute change of the objective stop early on the mean of small numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.errors import SpecError

Array = np.ndarray
Kind = Literal["huber", "squared", "absolute"]
ABSOLUTE_DELTA = 1e-6
"""The absolute objective is the Huber one with a quadratic zone far below any measurable difference."""


@dataclass(frozen=True)
class Objective:
    """Sum of rho(residual) with rho quadratic below `delta` and linear above.

    rho(r) = r^2/2 if |r| <= delta else delta (|r| - delta/2)

    Attributes:
        kind: "huber"; "squared" (sum of r^2/2); "absolute" (sum of |r|).
        delta: Huber threshold, in units of the residual (log loss unless `log` is False).
        log: whether residuals are of log loss.

    **Source:** Hoffmann et al. 2022, arXiv 2203.15556, appendix D.3.
    """

    kind: Kind = "huber"
    delta: float = 1e-3
    log: bool = True

    def __post_init__(self):
        if self.kind not in ("huber", "squared", "absolute"):
            raise SpecError(f"unknown objective {self.kind!r}: choose huber, squared or absolute")
        if not self.delta > 0:
            raise SpecError(
                f"delta is the residual at which Huber turns linear and must be positive, got {self.delta:g}"
            )

    @property
    def threshold(self) -> float:
        """Residual at which rho turns linear."""
        return {"huber": self.delta, "squared": np.inf, "absolute": ABSOLUTE_DELTA}[self.kind]

    @property
    def unit(self) -> float:
        """Divisor that turns the minimised Huber sum into the reported one."""
        return ABSOLUTE_DELTA if self.kind == "absolute" else 1.0

    def measure(self, loss: Array) -> Array:
        """The loss on the scale of the residuals: its logarithm, unless `log` is False."""
        if not self.log:
            return loss
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(loss)

    def residual(self, predicted: Array, measured: Array) -> Array:
        """Residual of each run: positive where the law predicts too high a loss."""
        return self.measure(predicted) - self.measure(measured)

    def rho(self, residual: Array, threshold: float | Array | None = None) -> Array:
        """Each run's share of the objective."""
        limit = self.threshold if threshold is None else threshold
        size = np.abs(residual)
        inside = np.minimum(size, limit)
        return inside * (size - 0.5 * inside)

    def value(self, predicted: Array, measured: Array, weights: Array | float = 1.0) -> Array:
        """The objective as reported: sum over the last axis."""
        return np.sum(weights * self.rho(self.residual(predicted, measured)), axis=-1) / self.unit


def run_weights(loss: Array, loss_se: Array | None, spread: float) -> Array:
    """Weight of each run from its measured variance: 1 / (spread^2 + (loss_se/loss)^2), mean 1.

    Args:
        loss: float64[n_runs], nats/token.
        loss_se: standard error of each loss, nats/token; None or non-finite means unmeasured (zero).
        spread: scatter of log loss beyond the measured error (seed to seed, and what the law misses).

    Returns:
        float64[n_runs].
    """
    if loss_se is None:
        return np.ones_like(loss)
    relative = np.where(np.isfinite(loss_se), loss_se, 0.0) / loss
    weights = 1.0 / (spread**2 + relative**2)
    return weights / weights.mean()
