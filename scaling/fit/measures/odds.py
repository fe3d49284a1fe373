"""How a share of right answers grows with size and data, of few runs: a power law of its odds, and no floor.

With m the share, ``m/(1 − m) = c · Π x^b``: a line in the logit, whose slopes are the exponents b. It is what a handful
of cells can bear; where there are enough of them to show a floor, a law is fitted by ``scaling.fit.measures.bounded``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import RecordError, SpecError
from scaling.numbers import check_level
from scaling.records.given import table_given
from scaling.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
STEPS = 100
"""Newton's, at most; a handful is enough."""


@dataclass(frozen=True)
class Exponent:
    """By what power of a column the odds of a right answer grow.

    Attributes:
        value: The exponent b.
        low, high: Its interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OddsFit(Shown):
    """A power law of odds.

    Attributes:
        exponents: By column.
        dispersion: Scatter of the cells about the law, in units of that of independent questions; at least 1.
        freedom: Cells beyond the coefficients; without any the intervals know of the questions alone.
        level: Of the intervals.
    """

    exponents: dict[str, Exponent]
    dispersion: float
    freedom: int
    level: float

    def frame(self) -> pd.DataFrame:
        """One row a column: its exponent with the interval."""
        import pandas as pd

        rows = [(name, one.value, one.low, one.high) for name, one in self.exponents.items()]
        return pd.DataFrame(rows, columns=["column", "exponent", "low", "high"])


def fit_odds(
    runs: pd.DataFrame,
    metric: str,
    *,
    trials: int,
    over: Sequence[str] = ("n_params", "n_tokens"),
    level: float = 0.9,
) -> OddsFit:
    """Fit the odds of a share of right answers by maximum likelihood, each answer right or wrong.

    >>> simple = scaling.load_runs("results/reference/compositional.csv").query("source == 'scan simple'")
    >>> fit_odds(simple, "exact_match", trials=630).frame()["column"].tolist()
    ['n_params', 'n_tokens']

    ``ln(m/(1 − m)) = a + Σ_j b_j · ln x_j``. Cells scatter more than questions do (seeds, and what the law leaves out):
    the variance is that of a binomial times what the cells show, and intervals are Student's t.

    Args:
        runs: One row a cell.
        metric: Column of the share, 0 to 1.
        trials: Questions that it is a share of.
        over: Columns x_j, each positive and not constant.
        level: Of the intervals.

    Raises:
        SpecError: a level outside of 0 to 1, or no question.
        RecordError: a share outside its bounds, a column that cannot be a power's base, or cells that determine no
            slope: too few of them, or all at a bound.

    **Source:** McCullagh & Nelder 1989, Generalized Linear Models, chapters 4 and 9 (quasi-likelihood).
    """
    from scipy import stats

    check_level(level)
    if trials < 1:
        raise SpecError(f"trials: got {trials}, allowed is a number of questions from one on")
    share, design = _cells(table_given(runs, columns=(metric, *over)), metric, over)
    beta, covariance = _likeliest(share, design, trials)
    # What the cells scatter beyond their questions is known from as many of them as there are beyond coefficients.
    freedom = len(share) - design.shape[1]
    found = 1 / (1 + np.exp(-design @ beta))
    spread = float((trials * (share - found) ** 2 / (found * (1 - found))).sum() / freedom) if freedom else 1.0
    dispersion = max(1.0, spread)
    reach = float(stats.t.ppf((1 + level) / 2, freedom) if freedom else stats.norm.ppf((1 + level) / 2))
    half = reach * np.sqrt(dispersion * np.diag(covariance))
    ends = zip(over, beta[1:], half[1:], strict=True)
    exponents = {name: Exponent(float(b), float(b - h), float(b + h)) for name, b, h in ends}
    return OddsFit(exponents, dispersion, freedom, level)


def most_share(trials: int, level: float = 0.9) -> float:
    """Largest share under which not one right answer of so many is no surprise: ``1 − (1 − level)^(1/trials)``."""
    check_level(level)
    return float(-np.expm1(np.log1p(-level) / trials))


def _cells(runs: pd.DataFrame, metric: str, over: Sequence[str]) -> tuple[Array, Array]:
    share, columns = runs[metric].to_numpy(float), runs[list(over)].to_numpy(float)
    if not ((share >= 0) & (share <= 1)).all():
        raise RecordError(f"{metric} is a share: got {share.min():g} to {share.max():g}, allowed is 0 to 1")
    design = np.column_stack([np.ones(len(share)), np.log(np.where(columns > 0, columns, np.nan))])
    # Centred, so that the rank does not hang on units.
    design[:, 1:] -= design[:, 1:].mean(0)
    if not np.isfinite(design).all() or np.linalg.matrix_rank(design) < design.shape[1]:
        raise RecordError(
            f"{len(share)} cells do not determine how {metric} grows with {', '.join(over)}: each must be positive and "
            "vary by itself; add cells, or leave a column out of `over`"
        )
    return share, design


def _likeliest(share: Array, design: Array, trials: int) -> tuple[Array, Array]:
    """Coefficients and their binomial covariance, by Newton's method."""
    beta = np.zeros(design.shape[1])
    for _ in range(STEPS):
        found = 1 / (1 + np.exp(-design @ beta))
        information = trials * design.T @ (design * (found * (1 - found))[:, None])
        step = np.linalg.solve(information + 1e-12 * np.eye(len(beta)), trials * design.T @ (share - found))
        beta = beta + step * min(1.0, 2.0 / np.abs(step).max(initial=1e-300))
        if np.abs(step).max() < 1e-10:
            return beta, np.linalg.inv(information)
    raise RecordError(
        "the shares lie at their bounds, or jump from one to the other, so that no slope is too steep for them; add "
        "cells in between, or say how rare a right answer is (scaling.fit.measures.odds.most_share)"
    )
