"""Levenberg-Marquardt from a whole batch of starts at once, for laws of one variable."""

from __future__ import annotations

import numpy as np

from scaling.curves.law import CurveLaw

Array = np.ndarray


def levenberg_marquardt(
    law: CurveLaw,
    theta: Array,
    u: Array,
    y: Array,
    weights: Array,
    box: tuple[Array, Array],
    *,
    tolerance: float,
    steps: int,
) -> tuple[Array, Array]:
    """Minimise the weighted squares of log-loss residuals from a whole batch of starts.

    Args:
        law: the form.
        theta: float64[s, k], search vectors.
        u, y, weights: float64[n]: log x, log loss, weights.
        box: (low, high), float64[k] each; a coefficient pressed against one is left out of the step.
        tolerance: a start is done after five steps that each gained less than this share.
        steps: most steps to take.

    Returns:
        Search vectors float64[s, k] and their weighted mean squares float64[s].
    """
    (low, high), theta, k = box, theta.copy(), theta.shape[1]
    value, slope = law.log_loss(theta, u)
    cost = (weights * (value - y) ** 2).sum(1)
    damping, stalled, diagonal = np.full(len(theta), 1e-2), np.zeros(len(theta), int), np.arange(k)
    for _ in range(steps):
        live = np.flatnonzero((stalled < 5) & (cost > 0))
        if not len(live):
            break
        weighted = slope[live] * weights
        gradient = (weighted @ (value[live] - y)[..., None])[..., 0]
        # A coefficient at its bound whose gradient points outwards is held: its row and column become the identity.
        free = ~(((theta[live] <= low) & (gradient > 0)) | ((theta[live] >= high) & (gradient < 0)))
        normal = weighted @ np.swapaxes(slope[live], 1, 2) * free[:, :, None] * free[:, None]
        scale = normal[:, diagonal, diagonal]
        # Marquardt's scaling by the diagonal, with a floor for coefficients that the loss hardly depends on.
        damped = damping[live, None] * (scale + 1e-6 * scale.max(1, keepdims=True))
        normal[:, diagonal, diagonal] += damped + ~free + 1e-12
        step = np.linalg.solve(normal, -(gradient * free)[..., None])[..., 0]
        trial = np.clip(theta[live] + step, low, high)
        new_value, new_slope = law.log_loss(trial, u)
        new_cost = (weights * (new_value - y) ** 2).sum(1)
        # Each start accepts or rejects its own step, and has a damping of its own.
        better = new_cost < cost[live]
        gain = np.where(better, (cost[live] - new_cost) / cost[live], 0.0)
        won = live[better]
        theta[won], cost[won] = trial[better], new_cost[better]
        value[won], slope[won] = new_value[better], new_slope[better]
        damping[live] *= np.where(better, 0.25, 4.0)
        stalled[live] = np.where(gain > tolerance, 0, stalled[live] + 1)
    return theta, cost
