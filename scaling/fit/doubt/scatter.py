"""Where the scatter of runs about a law comes from: their evaluation, their training, and what the law misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
REPEATS_NEEDED = 3
"""Degrees of freedom of repeated settings below which their scatter is a guess."""


@dataclass(frozen=True)
class Scatter:
    """Standard deviations of log loss; total^2 = evaluation^2 + training^2 + misfit^2.

    Attributes:
        total: of one run about the law.
        evaluation: of a loss that is measured on finite text; None where no standard error was measured.
        training: from run to run of one setting (seeds, order of the text), evaluation taken off; None without repeats.
        misfit: what is left: how far settings as a whole lie off the law; None without repeats.
        n_repeats: degrees of freedom behind `training`.
    """

    total: float
    evaluation: float | None = None
    training: float | None = None
    misfit: float | None = None
    n_repeats: int = 0

    def __str__(self) -> str:
        parts = [f"scatter of one run {self.total:.2%}"]
        if self.evaluation is not None:
            parts.append(f"of it evaluation {self.evaluation:.2%}")
        if self.training is not None and self.misfit is not None:
            parts.append(
                f"training {self.training:.2%} ({self.n_repeats} repeats), misfit of the law {self.misfit:.2%}"
            )
        return ", ".join(parts)


@dataclass(frozen=True)
class SizeTrend:
    """Standard deviation of one run relative to that of a run of size `centre`:
    relative(n)^2 = share (n / centre)^(2 slope) + 1 - share.

    Attributes:
        slope: d ln(standard deviation) / d ln n of what differs from seed to seed.
        centre: model size.
        share: part of the variance at the centre that differs from seed to seed; the law's misfit does not fall with n.
        least, most: sizes that were repeated; beyond them the scatter stays as at the end.
    """

    slope: float
    centre: float
    share: float
    least: float
    most: float

    def of_seeds(self, n: Array | float) -> Array:
        """Part of `relative` that differs from seed to seed."""
        inside = np.clip(np.asarray(n, float), self.least, self.most)
        return np.sqrt(self.share) * (inside / self.centre) ** self.slope

    def relative(self, n: Array | float) -> Array:
        """Of runs of n parameters, in the shape of n."""
        return np.sqrt(self.of_seeds(n) ** 2 + 1 - self.share)


def scatter_parts(total: float, residual: Array, loss: Array, loss_se: Array | None, setting: Array) -> Scatter:
    """Divide the scatter of runs about a law.

    Args:
        total: standard deviation of one run about the law, log loss.
        residual: float64[n_runs], log(predicted/measured).
        loss, loss_se: float64[n_runs], nats/token; None where no standard error was measured.
        setting: int[n_runs]: runs with one number differ in their seed alone.

    Returns:
        Scatter. Variances of repeats are pooled over settings, weighted by degrees of freedom.
    """
    evaluation = None
    if loss_se is not None and np.isfinite(loss_se).any():
        measured = np.isfinite(loss_se)
        evaluation = float(np.sqrt(np.mean((loss_se[measured] / loss[measured]) ** 2)))
    # Two runs of one setting lie off the law by the same: their difference is training and evaluation.
    within, left = variance_within(residual, setting)
    if left < REPEATS_NEEDED:
        return Scatter(total, evaluation)
    training = math.sqrt(max(within - (evaluation or 0.0) ** 2, 0.0))
    return Scatter(total, evaluation, training, math.sqrt(max(total**2 - within, 0.0)), left)


def variance_within(values: Array, setting: Array) -> tuple[float, int]:
    """Variance between repeats of one setting, pooled, and its degrees of freedom; NaN and 0 without repeats."""
    counts = np.bincount(setting)
    means = np.bincount(setting, values) / np.maximum(counts, 1)
    left = int(np.sum(np.maximum(counts - 1, 0)))
    return float(np.sum((values - means[setting]) ** 2)) / left if left else math.nan, left


def settings_of(*columns: Array) -> Array:
    """A number for each distinct combination of columns: int[n_runs]."""
    setting = np.zeros(len(columns[0]), int)
    for column in columns:
        own = np.unique(column, return_inverse=True)[1]
        setting = np.unique(setting * len(own) + own, return_inverse=True)[1]
    return setting
