"""Forecast the runs that one has from fewer of them, and count how often the truth fell inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling.errors import FitError, RecordError
from scaling.fit.fitter import fit
from scaling.fit.forms import law_columns
from scaling.fit.result import Fit
from scaling.laws.law import ScalingLaw
from scaling.laws.named import STACK
from scaling.numbers import check_level
from scaling.records.given import table_given
from scaling.shown import Drawn
from scaling.tables.observations import REAL, Observations
from scaling.tables.observe import observe, observed
from scaling.tables.read import select_rows
from scaling.tables.units import size_column

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
SPENT = ("n", "d", "c", "x")
"""What a law is a function of that makes a run large."""


@dataclass(frozen=True)
class Backtest(Drawn):
    """Forecasts of held-out runs.

    Attributes:
        mare: mean absolute relative error of the forecasts.
        coverage: share of held-out runs inside their interval.
        level: nominal probability of the interval.
        n_train, n_test: runs fitted and forecast.
        rows: one mapping a held-out run: row, measured, forecast, low, high, inside, reach.
        fit: the fit of the training runs.
    """

    figure: ClassVar[str] = "extrapolation"

    mare: float
    coverage: float
    level: float
    n_train: int
    n_test: int
    rows: tuple[Mapping[str, Any], ...]
    fit: Fit

    @property
    def unit(self) -> str:
        """Of the losses."""
        return self.fit.unit

    def frame(self) -> pd.DataFrame:
        """One row a held-out run: measured, forecast with its interval, whether it held, how far beyond the runs."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def __str__(self) -> str:
        inside = f"{self.coverage:.0%} of {self.n_test} held-out runs inside their {self.level:.0%} intervals"
        return f"mean error {self.mare:.2%}, {inside}; {self.n_train} runs fitted"

    def to_plain(self) -> dict[str, Any]:
        """JSON values: {"mare", "coverage", "level", "n_train", "n_test", "rows"}."""
        numbers = {name: getattr(self, name) for name in ("mare", "coverage", "level", "n_train", "n_test")}
        return numbers | {"rows": [dict(row) for row in self.rows]}


def backtest(
    runs: pd.DataFrame,
    *,
    train: str | None = None,
    test: str | None = None,
    law: str | ScalingLaw = STACK,
    level: float = 0.9,
    n: str | None = None,
    d: str = "n_tokens",
    loss: str = "loss",
    columns: Mapping[str, str] | None = None,
    **options: Any,
) -> Backtest:
    """Fit the training rows, forecast the test rows.

    >>> backtest(runs, law="q1q2", train="n_params < 3e5", bootstrap=0).n_test
    12

    Args:
        runs: one row a run.
        train: expression that keeps the rows to fit, as "n < 1e9"; default: all rows that `test` does not keep. Without
            either, the largest quarter by 6 n d is held out.
        test: expression that keeps the rows to forecast; default: all rows that `train` does not keep.
        law, n, d, loss, columns: as for `fit`.
        level: of the intervals.
        **options: further arguments of `fit`, as `clusters`, `bootstrap`, `seed`.

    Returns:
        Backtest.

    Raises:
        RecordError: no rows to train on or to test, or rows in both.
        FitError: the training rows do not determine the law.
    """
    check_level(level)  # before the fit, not minutes after it
    runs = table_given(runs)
    n = n or size_column(runs.columns)
    sizes = law_columns(law, n, d, columns)
    # Rows are told apart by their labels, which tables that were put one below the other have in common.
    runs = runs if runs.index.is_unique else runs.reset_index(drop=True)
    fitted_rows, held_out = _split(runs, train, test, sizes, loss)
    settings = {"bootstrap": 300} | options
    result = _fitted(fitted_rows, len(held_out), law=law, n=n, d=d, loss=loss, columns=columns, **settings)
    data = observe(held_out, columns=sizes, loss=loss, clusters=None)
    # What the law reads besides sizes is known of held-out runs too, but a teacher only by its code in the fit.
    further = [name for name in sorted(result.reads) if name in data.columns and name not in ("n", "d")]
    known: dict[str, Any] = {name: data.columns[name] for name in further}
    if "teacher" in result.reads or len(result.teachers) > 1:
        # To a law of divergences the code says no more than whether runs of the fit read the same text.
        known["teacher_code"] = _codes(data, result)
    n_asked, d_asked = (data.columns.get(axis, np.ones(len(data))) for axis in ("n", "d"))
    # Whoever holds runs back asks how far the law carries: as far as they lie.
    forecast = result.predict(n_asked, d_asked, level=level, force=True, **known)
    inside = (data.loss >= forecast.low) & (data.loss <= forecast.high)
    error = np.abs(forecast.value - data.loss) / np.abs(data.loss)
    return Backtest(
        float(error.mean()),
        float(inside.mean()),
        level,
        result.n_runs,
        len(data),
        _rows(data, forecast, inside),
        result,
    )


def _fitted(rows: pd.DataFrame, n_held: int, **settings: Any) -> Fit:
    """The fit of the training rows; of one that fails, it is said that not all runs were there to be fitted."""
    held_back = f"{n_held} of {len(rows) + n_held} runs were held out to be forecast, and of the others"
    try:
        result = fit(rows, strict=False, **settings)
    except FitError as error:
        raise FitError(f"{held_back}: {error}", fit=error.fit) from error
    if not result.status.converged:
        raise FitError(f"{held_back}: {' '.join(result.status.reasons)}", fit=result)
    return result


def _split(
    runs: pd.DataFrame, train: str | None, test: str | None, sizes: Mapping[str, str], loss: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows, disjoint and not empty."""
    if train is None and test is None:
        small, large = _by_size(runs, sizes, loss)
        kept = f"the largest quarter by what was spent has {len(large)} rows and the rest {len(small)} (give test)"
    else:
        small = select_rows(runs, train) if train is not None else runs.drop(index=select_rows(runs, test).index)
        large = select_rows(runs, test) if test is not None else runs.drop(index=small.index)
        kept = f"train ({train!r}) keeps {len(small)} rows and test ({test!r}) keeps {len(large)}"
    shared = small.index.intersection(large.index)
    if len(shared):
        raise RecordError(
            f"{len(shared)} rows are in both train ({train!r}) and test ({test!r}): a held-out run must not be fitted"
        )
    if not len(small) or not len(large):
        raise RecordError(f"{kept}: both need at least one")
    return small, large


def _by_size(runs: pd.DataFrame, sizes: Mapping[str, str], loss: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All but the largest quarter of the runs that a fit would use, and that quarter."""
    # A run that failed may have no size, and a checkpoint whose end is held back would be fitted as one.
    data = observe(runs, columns=sizes, loss=loss, clusters=None)
    # By what was spent alone: who holds back by anything else, as the loss, picks the outcome.
    size = np.prod([data.columns[name] for name in sizes if name in SPENT], axis=0) * np.ones(len(data))
    large = size > np.quantile(size, 0.75)
    return observed(runs, data.select(~large)), observed(runs, data.select(large))


def _codes(data: Observations, result: Fit) -> Array:
    """Codes of the held-out runs' texts in the fit's own order; -1 of one that it has no runs of."""
    # A label that two texts share has its id behind it, and only one of them may have been held out.
    id_of = {label: text_id for text_id, label in data.texts.items() if label != REAL}
    label_of = {label: result.label_of(id_of.get(label, label)) for label in data.teachers}
    known = list(result.teachers)
    unknown = [label for label in data.teachers if label_of[label] not in known]
    if unknown and "teacher" in result.reads:
        raise RecordError(
            f"the training rows have no run of {', '.join(unknown)}, whose divergence is unknown: "
            "give its deltas, or drop it"
        )
    codes = [-1 if label in unknown else known.index(label_of[label]) for label in data.teachers]
    return np.array(codes, float)[data.teacher]


def _rows(data, forecast, inside: Array) -> tuple[dict[str, Any], ...]:
    beyond = np.broadcast_to(forecast.farthest, inside.shape)
    return tuple(
        {
            "row": data.rows[i],
            "measured": float(data.loss[i]),
            "forecast": float(forecast.value[i]),
            "low": float(forecast.low[i]),
            "high": float(forecast.high[i]),
            "inside": bool(inside[i]),
            "reach": float(beyond[i]),
        }
        for i in range(len(data))
    )
