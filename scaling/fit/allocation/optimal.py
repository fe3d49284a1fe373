"""The compute-optimal size and volume of a fit, with intervals, or a sentence that it does not know them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit.allocation.cost import SIX_ND, Cost
from scaling.fit.allocation.split import best_split, growth, weighted_quantiles
from scaling.fit.evidence import Member
from scaling.fit.prediction import Prediction
from scaling.fit.reach import MAX_REACH
from scaling.fit.result import Fit, check_fit
from scaling.numbers import check_level, count, one_number
from scaling.shown import Drawn, Shown

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
DRAWS = 200


@dataclass(frozen=True)
class Optimal(Shown):
    """Best split of a budget.

    Attributes:
        flops: the budget.
        n, d: compute-optimal size and tokens.
        n_interval, d_interval: at `level`, over the draws of every law; an end of 0 or inf is not identified.
        loss: forecast there.
        tokens_per_parameter: d/n.
        level: of the intervals.
        exponent: a of N* = G C^a, about this budget.
        exponent_interval: at `level`; NaN where the draws have no optimum.
        cost: how FLOPs were counted.
    """

    flops: float
    n: float
    d: float
    n_interval: tuple[float, float]
    d_interval: tuple[float, float]
    loss: Prediction
    tokens_per_parameter: float
    level: float
    exponent: float
    exponent_interval: tuple[float, float]
    cost: str = SIX_ND.text

    @property
    def identified(self) -> bool:
        """Whether both ends of the interval of N* are known."""
        return self.n_interval[0] > 0 and math.isfinite(self.n_interval[1])

    @property
    def reach(self) -> float:
        """Factor by which N* or D* exceeds the runs behind the fit."""
        return float(self.loss.farthest)

    def row(self) -> dict[str, float]:
        """One line of a table of optima."""
        ends = {"n_low": self.n_interval[0], "n_high": self.n_interval[1]}
        volumes = {"d": self.d, "d_low": self.d_interval[0], "d_high": self.d_interval[1]}
        return {"flops": self.flops, "n": self.n, **ends, **volumes, "loss": self.loss.value, "reach": self.reach}

    def frame(self) -> pd.DataFrame:
        """One row."""
        return Optima((self,)).frame()

    def __str__(self) -> str:
        low, high = self.n_interval
        doubt = f"[{low:.3g}, {high:.3g}]" if self.identified else "not identified " + _open_ends(low, high)
        far = f", {self.reach:.3g}× beyond the runs" if self.reach > MAX_REACH else ""
        return f"C = {self.flops:.3g}: N* = {self.n:.3g} {doubt} at {self.level:.0%}, D* = {self.d:.3g}{far}"


@dataclass(frozen=True)
class Optima(Drawn):
    """Best splits of several budgets.

    Attributes:
        each: one a budget that has one.
        refused: a sentence for each of the others.
    """

    figure: ClassVar[str] = "best size by compute"

    each: tuple[Optimal, ...]
    refused: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """One row a budget: FLOPs, N* and D* with their intervals, the loss there, how far beyond the runs it lies."""
        import pandas as pd

        return pd.DataFrame([one.row() for one in self.each])


@overload
def optimal(fit: Fit, *, flops: float | str, **asked: Any) -> Optimal: ...
@overload
def optimal(fit: Fit, *, flops: Sequence[float | str] | Array, **asked: Any) -> Optima: ...
def optimal(fit: Fit, *, flops: Any, **asked: Any) -> Optimal | Optima:
    """Compute-optimal size and data of a fit, for one budget or several.

    >>> optimal(fit, flops=[1e11, 1e12]).frame()["n"].is_monotonic_increasing
    True

    Args:
        fit: with laws of n and d.
        flops: training budget; of several, one without an optimum is told in `Optima.refused`.
        **asked: as of `best_of_budget`: `teacher`, `level`, `cost`, further columns of the law.
    """
    check_fit(fit, "of a published law scaling.solve('besiroglu', flops=…) gives the best size and volume")
    budgets = count(flops.tolist() if isinstance(flops, np.ndarray) else flops, "flops")
    if not isinstance(budgets, list):
        return best_of_budget(fit, budgets, **asked)
    return _of_budgets(fit, budgets, asked)


def _of_budgets(fit: Fit, budgets: list[float], asked: dict[str, Any]) -> Optima:
    each, refused = [], []
    for budget in budgets:
        try:
            each.append(best_of_budget(fit, budget, **asked))
        except FitError as error:
            refused.append(str(error))
    return Optima(tuple(each), tuple(refused))


def best_of_budget(
    fit: Fit, flops: float, *, teacher: str | None = None, level: float = 0.9, cost: Cost = SIX_ND, **columns: Any
) -> Optimal:
    """Compute-optimal size and data of a fit.

    Args:
        fit: with laws of n and d.
        flops: training budget.
        teacher: of the text; None is real text.
        level: of the intervals.
        cost: FLOPs of a training; 6 n d by default, or `scaling.fit.allocation.cost.cost_of`.
        **columns: further columns of the law.

    Returns:
        Optimal.

    Raises:
        SpecError: no positive budget, or a law without n and d.
        FitError: along the budget the loss has no minimum at any size.
    """
    check_level(level)
    flops = one_number(flops, "flops", example="1e21")
    if not flops > 0 or math.isinf(flops):
        raise SpecError(f"flops is a finite training budget above zero, got {flops:g}")
    if not {"n", "d"} <= set(fit.law.columns):
        raise SpecError(f"law {fit.law.name!r} is not a function of both n and d: it has no optimal split")

    def surface(n: Array, d: Array) -> Array:
        return fit.loss(n, d, teacher=teacher, **columns)

    centre = float(best_split(surface, flops, cost=cost))
    if not 0 < centre < math.inf:
        side, end = ("smaller", "down") if centre == 0 else ("larger", "up")
        raise FitError(
            f"the best size for {flops:.3g} FLOPs is not identified: along this budget the loss falls {end} to the "
            f"{'smallest' if centre == 0 else 'largest'} size there is; add runs that are {side} than those behind the "
            "fit, at this budget if you can",
            fit=fit,
        )
    # Every law speaks through its draws, as loudly as its weight.
    sizes, exponents, shares = [], [], []
    for member in fit.members:
        law = _surface(fit, member, teacher, columns)
        if law is not None:
            sizes.append(np.atleast_1d(best_split(law, flops, cost=cost)))
            exponents.append(np.atleast_1d(growth(law, flops, cost=cost)))
            shares.append(np.full(len(sizes[-1]), member.weight / len(sizes[-1])))
    n_interval, exponent_interval = _interval(sizes, shares, level), _interval(exponents, shares, level)
    d = float(cost.tokens(np.asarray(centre), flops))
    return Optimal(
        flops=flops,
        n=centre,
        d=d,
        n_interval=n_interval,
        d_interval=_volumes(n_interval, flops, cost),
        loss=fit.predict(centre, d, teacher=teacher, level=level, force=True, **columns),
        tokens_per_parameter=d / centre,
        level=level,
        exponent=float(growth(surface, flops, cost=cost)),
        exponent_interval=exponent_interval,
        cost=cost.text,
    )


def _surface(fit: Fit, member: Member, teacher: str | None, columns: dict[str, Any]):
    """Loss of every draw of a member over n and d; None where it has no draws."""
    draws = member.draws(DRAWS)
    if not len(draws):
        return None

    def surface(n: Array, d: Array) -> Array:
        at = fit.points(n, d, teacher=teacher, **columns)
        return member.law.evaluate(draws, member.columns(at.columns))

    return surface


def _interval(values: list[Array], shares: list[Array], level: float) -> tuple[float, float]:
    """Central interval over draws; (NaN, NaN) without any, or where a draw in ten has none."""
    if not values:
        return math.nan, math.nan
    every, weights = np.concatenate(values), np.concatenate(shares)
    known = ~np.isnan(every)
    if np.sum(weights[known]) < 0.9 * np.sum(weights):
        return math.nan, math.nan
    return weighted_quantiles(every[known], weights[known], level)


def _volumes(sizes: tuple[float, float], flops: float, cost: Cost) -> tuple[float, float]:
    """Tokens at the ends of an interval of sizes: the largest size leaves the fewest."""
    low, high = sizes
    if math.isnan(low):
        return math.nan, math.nan
    fewest = 0.0 if math.isinf(high) else float(cost.tokens(np.asarray(high), flops))
    most = math.inf if low == 0 else float(cost.tokens(np.asarray(low), flops))
    return fewest, most


def _open_ends(low: float, high: float) -> str:
    if math.isnan(low):
        return "(too few draws of the coefficients have a best size)"
    return (
        "on either side" if low == 0 and math.isinf(high) else f"below {high:.3g}" if low == 0 else f"above {low:.3g}"
    )
