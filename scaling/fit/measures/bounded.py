"""Laws of a metric that lies between two bounds, as an accuracy: fitted on the scale of its odds.

A power law in an accuracy itself forecasts more than one. Its odds of being wrong, z = (high - m)/(m - low), are
positive like a loss and fall like one; log z is the logit, so the fit's residuals in log z are residuals of the logit,
and what is forecast comes back inside the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RecordError, SpecError
from scaling.fit.fitter import fit
from scaling.fit.prediction import Prediction, Target
from scaling.fit.result import Fit
from scaling.records.given import table_given
from scaling.shown import Shown
from scaling.tables.expression import evaluate
from scaling.tables.finished import finished, listed
from scaling.tables.labels import named_labels
from scaling.tables.read import select_rows
from scaling.tables.units import ODDS

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray


@dataclass(frozen=True)
class Scale:
    """Between two bounds, and which of them is the goal.

    Attributes:
        low, high: bounds; a metric reaches neither (chance level and 1, say).
        rises: whether more is better.
    """

    low: float = 0.0
    high: float = 1.0
    rises: bool = True

    def odds(self, metric: Array) -> Array:
        """How far from the goal, over how far from the other bound."""
        up, down = metric - self.low, self.high - metric
        return down / up if self.rises else up / down

    def metric(self, odds: Any) -> Any:
        """Back from `odds`; inside the bounds for any odds from 0 to infinity."""
        missing = 1 - 1 / (1 + np.asarray(odds, float))
        share = 1 - missing if self.rises else missing
        found = self.low + (self.high - self.low) * share
        return float(found) if found.ndim == 0 else found


@dataclass(frozen=True)
class BoundedFit(Shown):
    """A law of a bounded metric.

    Attributes:
        fit: of the odds.
        scale: of the metric.
        column: of the metric in the table.
    """

    fit: Fit
    scale: Scale
    column: str

    def frame(self) -> pd.DataFrame:
        """The coefficients of the law of the odds, one row each."""
        return self.fit.frame()

    def predict(
        self, n: Any = None, d: Any = None, *, level: float = 0.9, of: Target = "run", **columns: Any
    ) -> Prediction:
        """The metric of a new run, or the mean of many, with an interval; as `Fit.predict`.

        Returns:
            Prediction in units of the metric, which its column names; its `scale` is that of the logit.
        """
        found = self.fit.predict(n, d, level=level, of=of, **columns)
        ends = (self.scale.metric(found.low), self.scale.metric(found.high))
        low, high = ends[::-1] if self.scale.rises else ends
        return replace(found, value=self.scale.metric(found.value), low=low, high=high, unit=self.column)

    def probability(self, target: float, n: Any = None, d: Any = None, **columns: Any) -> Any:
        """P(the metric of a new run is at least as good as the target)."""
        if not self.scale.low < target < self.scale.high:
            raise SpecError(f"a target lies between {self.scale.low:g} and {self.scale.high:g}, got {target:g}")
        return self.fit.probability(float(self.scale.odds(np.asarray(target))), n, d, **columns)

    @property
    def limit(self) -> float:
        """The metric of an infinite model on infinite real text."""
        return self.scale.metric(self.fit.floor().value)


def fit_bounded(
    runs: pd.DataFrame,
    metric: str,
    *,
    scale: Scale | None = None,
    trials: int | None = None,
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    **options: Any,
) -> BoundedFit:
    """Fit a law to a metric between two bounds.

    >>> right = runs.assign(right=1 / (1 + runs["loss"]))
    >>> 0.3 < fit_bounded(right, "right", law="q1q2", bootstrap=0).predict("300k", "1M").value < 0.5
    True

    z = (high - m)/(m - low) for a metric that rises; a law of n and d is fitted to z, residuals of log z.

    Args:
        runs: one row a run.
        metric: column or expression of it.
        scale: bounds and direction; by default 0 to 1, more is better.
        trials: questions that the metric is a share of. A share that reached a bound is then taken for half a trial
            less, which is what one can say of it.
        columns, where, options: as for `scaling.fit.fitter.fit`.

    Returns:
        BoundedFit.

    Raises:
        RecordError: a metric on or outside its bounds in a row that is fitted, with its rows.
        SpecError: bounds in the wrong order, or fewer than one trial.
        FitError: as for `fit`.

    **Source:** the empirical logit: Haldane 1956; Anscombe 1956.
    """
    scale = scale or Scale()
    if not scale.low < scale.high or (trials is not None and trials < 1):
        raise SpecError(f"bounds rise and trials count from one, got {scale.low:g}, {scale.high:g} and {trials}")
    # Rows that are not fitted may say anything; the others are known again by their place in the table.
    runs = table_given(runs, columns=(metric,))
    done = select_rows(named_labels(runs, columns or {})[0].assign(**{ODDS: np.arange(len(runs))}), where)
    done = done[finished(done)[0]]
    values = evaluate(done, metric)
    if values.dtype != float:
        raise RecordError(f"the metric {metric!r} must be a number in every row")
    values = values if trials is None else _off_the_bounds(values, scale, trials)
    _refuse_outside(done.index, metric, values, scale)
    odds = np.full(len(runs), np.nan)
    odds[done[ODDS]] = scale.odds(values)
    return BoundedFit(
        fit(runs.assign(**{ODDS: odds}), loss=ODDS, columns=columns, where=where, **options), scale, metric
    )


def _off_the_bounds(values: Array, scale: Scale, trials: int) -> Array:
    """All or none of the questions right is a share within half a question of the bound, not on it."""
    half = (scale.high - scale.low) / (2 * trials)
    known = (values >= scale.low) & (values <= scale.high)
    return np.where(known, values.clip(scale.low + half, scale.high - half), values)


def _refuse_outside(names: pd.Index, metric: str, values: Array, scale: Scale) -> None:
    outside = ~((values > scale.low) & (values < scale.high))
    if outside.any():
        rows = listed(f"row {row}: {value:g}" for row, value in zip(names[outside], values[outside], strict=True))
        raise RecordError(
            f"the metric {metric!r} must lie inside {scale.low:g} and {scale.high:g}, got {rows}: for shares on a "
            "bound give the number of questions (trials), else set the bounds, or leave those rows out (where)"
        )
