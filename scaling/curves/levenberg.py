"""Levenberg-Marquardt from a whole batch of starts at once, for laws of one variable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.curves.law import CurveLaw

Array = np.ndarray


@dataclass(frozen=True)
class Batch:
    """Searches of one form that step together; each has weights and bounds of its own.

    Attributes:
        law: the form.
        u, y: float64[n]: log x and log loss.
        theta: float64[s, k], search vectors to start from.
        weights: float64[s, n]; zero hides a point.
        low, high: float64[s, k]; a coefficient pressed against a bound is left out of the step.
    """

    law: CurveLaw
    u: Array
    y: Array
    theta: Array
    weights: Array
    low: Array
    high: Array

    def take(self, rows: Array, theta: Array) -> Batch:
        """Some of the searches, from other places."""
        return Batch(self.law, self.u, self.y, theta[rows], self.weights[rows], self.low[rows], self.high[rows])


def levenberg_marquardt(batch: Batch, *, tolerance: float, steps: int) -> tuple[Array, Array]:
    """Minimise the weighted squares of log-loss residuals.

    Args:
        batch: the searches.
        tolerance: a search is done after five steps that each gained less than this share.
        steps: most steps to take.

    Returns:
        Search vectors float64[s, k] and their weighted squares float64[s].
    """
    law, y, theta = batch.law, batch.y, batch.theta.copy()
    k = theta.shape[1]
    value, slope = law.log_loss(theta, batch.u)
    cost = _squares(batch.weights, value - y)
    damping, stalled, diagonal = np.full(len(theta), 1e-2), np.zeros(len(theta), int), np.arange(k)
    for _ in range(steps):
        live = np.flatnonzero((stalled < 5) & (cost > 0))
        if not len(live):
            break
        weights, low, high = batch.weights[live], batch.low[live], batch.high[live]
        weighted = slope[live] * weights[:, None]
        gradient = (weighted @ (value[live] - y)[..., None])[..., 0]
        # A coefficient on its bound that would leave it stays: its row and column become those of the identity.
        free = ~(((theta[live] <= low) & (gradient > 0)) | ((theta[live] >= high) & (gradient < 0)))
        normal = weighted @ np.swapaxes(slope[live], 1, 2) * free[:, :, None] * free[:, None]
        scale = normal[:, diagonal, diagonal]
        damped = damping[live, None] * (scale + 1e-6 * scale.max(1, keepdims=True))
        normal[:, diagonal, diagonal] += damped + ~free + 1e-12
        step = np.linalg.solve(normal, -(gradient * free)[..., None])[..., 0]
        trial = np.clip(theta[live] + step, low, high)
        new_value, new_slope = law.log_loss(trial, batch.u)
        new_cost = _squares(weights, new_value - y)
        # Searches that improved move and trust their model more; the others stay and shorten their step.
        better = new_cost < cost[live]
        gain = np.where(better, (cost[live] - new_cost) / cost[live], 0.0)
        won = live[better]
        theta[won], cost[won] = trial[better], new_cost[better]
        value[won], slope[won] = new_value[better], new_slope[better]
        damping[live] *= np.where(better, 0.25, 4.0)
        stalled[live] = np.where(gain > tolerance, 0, stalled[live] + 1)
    return theta, cost


def _squares(weights: Array, residual: Array) -> Array:
    """Weighted squares of each search; a hidden point does not count, whatever it is predicted as."""
    return np.sum(weights * np.where(weights > 0, residual, 0.0) ** 2, axis=1)
