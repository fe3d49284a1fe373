"""The evidence that a fit carries beside its law: whether it may be used, its replicates, its forecasts' errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.fit.doubt.scatter import SizeTrend
from scaling.fit.stack.versions import PLAIN, Version
from scaling.laws.law import ScalingLaw

Array = np.ndarray
DOUBT_MAX = 0.5
"""A linear doubt of log loss beyond this has left the range in which it means anything."""
LIMITLESS = 1e250
"""A size or volume at which every term of a law has vanished, and its logarithm is still a number."""
FARTHEST = 100.0
"""Logarithm of a distance beyond the runs that stands for an infinite one."""


@dataclass(frozen=True)
class Status:
    """Whether a fit may be used, and why not.

    Attributes:
        converged: no step could improve the objective.
        interior: no coefficient of a law with all its weight ended on a bound.
        identified: the runs determine every coefficient of the base law.
        reasons: one sentence for each failure, saying what to do.
        notes: sentences that do not forbid use.
    """

    converged: bool
    interior: bool
    identified: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Converged, interior and identified."""
        return self.converged and self.interior and self.identified


@dataclass(frozen=True)
class Member:
    """One law of a fit: alone, or averaged with others.

    Attributes:
        law: with its numbers.
        weight: share in the average, in [0, 1].
        value: its objective.
        tried, reached: starts, and how many ended in this optimum.
        samples: float64[n_replicates, k], bootstrap coefficients of the leading law; none of the others.
        at_bound: coefficients on a bound.
        version: how it was fitted.
        covariance: float64[k, k] of the coefficients in search coordinates (logarithms where they are searched so);
            None where unknown.
    """

    law: ScalingLaw
    weight: float
    value: float
    tried: int
    reached: int
    samples: Array
    at_bound: tuple[str, ...] = ()
    version: Version = PLAIN
    covariance: Array | None = None

    def columns(self, given: Mapping[str, Array]) -> Any:
        """The columns that this law reads."""
        return self.law.prepare({name: given[name] for name in self.law.columns})

    def slope(self, x: Any) -> Array:
        """d log loss / d search coordinate: float64[n_points, k]."""
        theta = self.law.vector
        # Of an infinite size or volume the slope is that of the limit: N^-alpha log N vanishes, 0 · inf is no number.
        x = SimpleNamespace(**{name: np.minimum(values, LIMITLESS) for name, values in vars(x).items()})
        with np.errstate(all="ignore"):
            return self.law.gradient(theta, x) * self.coordinates / self.law.evaluate(theta, x)[:, None]

    def doubt(self, slope: Array) -> Array:
        """Standard error of log loss, to first order, of a forecast with this slope: float64[n_points]."""
        return np.zeros(len(slope)) if self.covariance is None else linear_doubt(slope, self.covariance)

    def draws(self, count: int, seed: int = 0) -> Array:
        """Coefficients as they might have come out: the bootstrap where there is one, else from the covariance.

        Returns:
            float64[at most count, k]; none where neither is known.
        """
        if len(self.samples):
            return self.samples[:: max(1, len(self.samples) // count)][:count]
        if self.covariance is None:
            return self.samples
        values, axes = np.linalg.eigh(self.covariance)
        rng = np.random.default_rng(seed)
        steps = rng.standard_normal((count, len(values))) * np.sqrt(np.maximum(values, 0)) @ axes.T
        theta, coefficients = self.law.vector, self.law.coefficients
        moved = np.where(self.law.is_log, theta * np.exp(np.clip(steps, -50, 50)), theta + steps)
        return np.clip(moved, [c.low for c in coefficients], [c.high for c in coefficients])

    @property
    def coordinates(self) -> Array:
        """d coefficient / d search coordinate: float64[k]."""
        return self.law.per_search(self.law.vector)


def linear_doubt(slope: Array, covariance: Array) -> Array:
    """Root of slope covariance slope', at most `DOUBT_MAX`: float64[..., n_points]."""
    with np.errstate(all="ignore"):
        variance = np.sum((slope @ covariance) * slope, axis=-1)
    return np.sqrt(np.clip(np.nan_to_num(variance, nan=np.inf), 0.0, DOUBT_MAX**2))


@dataclass(frozen=True)
class Calibration:
    """How forecast errors are distributed, in units of the predictive scale.

    Attributes:
        levels: of the quantiles, increasing in (0, 1).
        quantiles: of error / scale at those levels.
        noise: standard deviation of log loss of one run about the law.
        factors: {"n": f, "d": f, "c": f}: by how much the scale of a forecast is multiplied that goes beyond the runs
            in n, in d, or in both; empty without validation.
        inside: the factor of a forecast between the runs, learned from cells left out; None where forecasts are the
            law's alone, which takes that of going beyond in both.
        basis: "held-out": learned from forecasts of larger runs left out of smaller fits; "in-sample": too few runs
            for that, assumed t.
        n_scores: held-out forecasts behind it.
        trend: how the noise changes with model size; None where it does not, or nobody knows.
        unseen: how far the law lies off a text that it has no runs of, standard deviation of log loss: what texts left
            out were missed by, beyond what texts that were seen are; zero where nobody knows.
    """

    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    noise: float
    factors: Mapping[str, float] = field(default_factory=dict)
    basis: str = "in-sample"
    n_scores: int = 0
    trend: SizeTrend | None = None
    inside: float | None = None
    unseen: float = 0.0

    def noise_at(self, n: Array | float | None) -> Array | float:
        """Standard deviation of one run of n parameters."""
        return self.noise if self.trend is None or n is None else self.noise * self.trend.relative(n)

    def seeds_at(self, n: Array | None, pooled: float) -> Array | float:
        """Standard deviation between runs of one setting of n parameters: `pooled` where no trend is known."""
        return pooled if self.trend is None or n is None else self.noise * self.trend.of_seeds(n)

    def factor(self, n: Array, d: Array) -> Array:
        """Of points that lie beyond the runs by these factors: the axes' own, in proportion to how far (in logarithm)
        a point goes along one of them alone; the common one for the rest. Between the runs, the one learned there."""
        beyond = self._beyond(n, d)
        return beyond if self.inside is None else np.where((n <= 1) & (d <= 1), self.inside, beyond)

    def _beyond(self, n: Array, d: Array) -> Array:
        if not self.factors:
            return np.ones(np.broadcast_shapes(np.shape(n), np.shape(d)))
        far_n, far_d = np.minimum(np.log(n), FARTHEST), np.minimum(np.log(d), FARTHEST)
        both = np.minimum(far_n, far_d)
        whole = np.maximum(far_n + far_d, 1e-12)
        share_n, share_d = (far_n - both) / whole, (far_d - both) / whole
        own = {axis: np.log(self.factors[axis]) for axis in ("n", "d", "c")}
        return np.exp(share_n * own["n"] + share_d * own["d"] + (1 - share_n - share_d) * own["c"])

    def quantile(self, level: float) -> float:
        """Standardised error that is exceeded with probability 1 - level."""
        return float(np.interp(level, self.levels, self.quantiles))

    def cumulative(self, error: Array) -> Array:
        """Probability of a standardised error below the given one."""
        return np.interp(error, self.quantiles, self.levels)


@dataclass(frozen=True)
class Suspect:
    """Rows that lie off the law of the others.

    Attributes:
        rows: labels in the table.
        shift: log(measured/law), of the row or on average over the level.
        text: what is off, by how much, and what to do.
    """

    rows: tuple[Any, ...]
    shift: float
    text: str
