"""The evidence that a fit carries beside its law: whether it may be used, its replicates, its forecasts' errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.laws.law import ScalingLaw

Array = np.ndarray
SAMPLES_FOR_SPREAD = 250
"""Bootstrap replicates that a forecast's spread is computed from; all of them are kept for intervals of
coefficients."""


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
        samples: float64[n_replicates, k], bootstrap coefficients.
        at_bound: coefficients on a bound.
    """

    law: ScalingLaw
    weight: float
    value: float
    tried: int
    reached: int
    samples: Array
    at_bound: tuple[str, ...] = ()

    def columns(self, given: Mapping[str, Array]) -> Any:
        """The columns that this law reads."""
        return self.law.prepare({name: given[name] for name in self.law.columns})

    def spread(self, x: Any) -> Array:
        """Standard deviation of log loss over the bootstrap: float64[n_points]."""
        if len(self.samples) < 2:
            return np.zeros(np.shape(getattr(x, self.law.columns[0])))
        step = max(1, len(self.samples) // SAMPLES_FOR_SPREAD)
        logs = np.log(np.maximum(self.law.evaluate(self.samples[::step], x), 1e-300))
        # Half the width of the central 68 %: one replicate that lost a term must not set the doubt of all the others.
        low, high = np.quantile(logs, [0.1587, 0.8413], axis=0)
        return (high - low) / 2


@dataclass(frozen=True)
class Calibration:
    """How forecast errors are distributed, in units of the predictive scale.

    Attributes:
        levels: of the quantiles, increasing in (0, 1).
        quantiles: of error / scale at those levels.
        noise: standard deviation of log loss of one run about the law.
        basis: "held-out": learned from forecasts of larger runs left out of smaller fits; "in-sample": too few runs
            for that, assumed t.
        n_scores: held-out forecasts behind it.
    """

    levels: tuple[float, ...]
    quantiles: tuple[float, ...]
    noise: float
    basis: str = "in-sample"
    n_scores: int = 0

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
