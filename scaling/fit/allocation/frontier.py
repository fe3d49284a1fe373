"""The three approaches to compute-optimal sizes over one table of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling.errors import FitError, RecordError
from scaling.fit.allocation.approaches import Approach, by_law, difference, envelope, isoflop
from scaling.fit.allocation.cost import SIX_ND, Cost
from scaling.fit.allocation.optimal import Optimal, optimal
from scaling.fit.fitter import fit
from scaling.fit.forms import law_columns
from scaling.fit.prediction import numbers_of
from scaling.laws.law import ScalingLaw
from scaling.numbers import check_level
from scaling.records.given import table_given
from scaling.shown import Drawn
from scaling.tables.observations import REAL
from scaling.tables.observe import observe
from scaling.tables.units import size_column

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Frontier(Drawn):
    """Best sizes of some budgets, and what each approach makes of the runs.

    Attributes:
        optima: of the law, one each budget at which it has one.
        approaches: those that found enough optima.
        refused: a sentence for each budget or approach without an answer.
        differences: a sentence for each approach beside the law.
        text: whose text was asked about, where the runs read several; empty elsewhere.
    """

    figure: ClassVar[str] = "frontier"

    optima: tuple[Optimal, ...]
    approaches: tuple[Approach, ...]
    refused: tuple[str, ...]
    differences: tuple[str, ...]
    text: str = ""

    def frame(self) -> pd.DataFrame:
        """One row a budget of the law, then one a budget of each other approach: N* and D* with the interval of N*."""
        import pandas as pd

        rows = [{"approach": "law", **one.row()} for one in self.optima]
        for found in self.approaches:
            if found.name != "law":
                rows += [{"approach": found.name, **row} for row in found.rows()]
        return pd.DataFrame(rows)


def frontier(
    runs: pd.DataFrame,
    flops: Sequence[float | str] | np.ndarray | float | str,
    *,
    law: str | ScalingLaw = "stack",
    where: str | None = None,
    teacher: str | None = None,
    cost: Cost = SIX_ND,
    level: float = 0.9,
    n: str | None = None,
    d: str = "n_tokens",
    loss: str = "loss",
    columns: Mapping[str, str] | None = None,
    **options: Any,
) -> Frontier:
    """Fit a law to the runs and ask it, the parabolas and the envelope for the best sizes.

    >>> frontier(runs, ["1e11", "1e12"], law="q1q2", bootstrap=50).frame()["approach"].unique().tolist()
    ['law', 'envelope']

    Args:
        runs: one row a run.
        flops: budgets, one or many.
        teacher: whose text; None is real text. The runs themselves are asked on that text alone.
        law, where, n, d, loss, columns, options: as for `fit`.
        cost: of a training.
        level: of the intervals.

    Returns:
        Frontier; what cannot be answered is told in `refused`.

    Raises:
        RecordError: the table cannot be used, or has no run on that text.
        SpecError: a budget that is none, or a law without n and d.
        FitError: the runs do not determine the law.
    """
    check_level(level)  # before the fit, not minutes after it
    runs, budgets = table_given(runs), _budgets(flops)
    n = n or size_column(runs.columns)
    found = fit(runs, law=law, n=n, d=d, loss=loss, columns=columns, where=where, **options)
    data = observe(runs, columns=law_columns(law, n, d, columns), loss=loss, where=where)
    text = teacher or (REAL if REAL in data.teachers else data.teachers[0])
    if text not in data.teachers:
        raise RecordError(f"no run on the text {text!r}: the table has {', '.join(data.teachers)}")
    several, data = len(data.teachers) > 1, data.select(data.teacher == data.teachers.index(text))
    axes = (data.columns["n"], data.columns["d"], data.loss)
    plain = found.law if set(found.law.columns) == {"n", "d"} else None
    # Each approach may lack what another has: a sweep of one budget has no envelope, a grid no budgets.
    approaches: list[Approach] = []
    refused: list[str] = []
    for attempt in (
        lambda: by_law(
            found, sorted({*budgets, *_spread(cost(axes[0], axes[1]))}), level=level, cost=cost, teacher=teacher
        ),
        lambda: isoflop(*axes, law=plain, level=level, cost=cost),
        lambda: envelope(*axes, level=level, cost=cost, cluster=data.cluster),
    ):
        try:
            approaches.append(attempt())
        except FitError as error:
            refused.append(str(error))
    optima = []
    for budget in budgets:
        try:
            optima.append(optimal(found, flops=budget, level=level, cost=cost, teacher=teacher))
        except FitError as error:
            refused.append(str(error))
    others = approaches[1:] if approaches and approaches[0].name == "law" else []
    return Frontier(
        tuple(optima),
        tuple(approaches),
        tuple(refused),
        tuple(difference(other, approaches[0], budgets[0]) for other in others),
        text=text if several else "",
    )


def _budgets(flops: Any) -> list[float]:
    return np.ravel(numbers_of(flops, "flops")).tolist()


def _spread(spent: Any) -> list[float]:
    """Three budgets that the runs themselves span, so that the law's exponent is theirs."""
    low, high = float(spent.min()), float(spent.max())
    return [low, (low * high) ** 0.5, high]
