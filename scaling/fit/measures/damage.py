"""Laws of the loss that rounding adds, fitted to a table of damage: what a format with few bits will cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError
from scaling.fit.fitter import fit
from scaling.fit.result import Fit
from scaling.records.given import table_given
from scaling.shown import Shown
from scaling.tables.units import size_column

if TYPE_CHECKING:
    import pandas as pd

DAMAGE_LAWS = ("damage-kumar", "damage-ouyang", "damage-noise")

MEASURABLE = 2.0
"""Standard errors above zero from which a damage has a logarithm worth fitting."""

MOST_OF_RUNS = 0.9
"""Share of the runs whose damage must be measurable at a number of bits that is fitted: where it is so for some alone,
they are those whose noise happened to point up."""


@dataclass(frozen=True, kw_only=True)
class DamageFit(Shown):
    """One form fitted to the damage of many runs.

    Attributes:
        law: Name of the form.
        fit: Its coefficients with their doubt.
        error: Root mean square of ln(damage/law) over the rows that it is fitted to.
        ahead: The same over the largest size, of the form fitted to the smaller ones; NaN where there is one size only.
        n_rows: Rows fitted.
    """

    law: str
    fit: Fit
    error: float
    ahead: float
    n_rows: int

    def frame(self) -> pd.DataFrame:
        """One row: the form, its errors inside and ahead, and its coefficients."""
        import pandas as pd

        errors = {"law": self.law, "error": self.error, "ahead": self.ahead, "rows": self.n_rows}
        return pd.DataFrame([errors | dict(self.fit.params)])


@dataclass(frozen=True)
class DamageFits(Shown):
    """Every form fitted to one table.

    Attributes:
        each: One a form.
    """

    each: tuple[DamageFit, ...]

    def __iter__(self) -> Iterator[DamageFit]:
        return iter(self.each)

    def __getitem__(self, index: int) -> DamageFit:
        return self.each[index]

    def frame(self) -> pd.DataFrame:
        """One row a form: its errors inside and ahead, and its coefficients."""
        import pandas as pd

        return pd.concat([one.frame() for one in self.each], ignore_index=True)


def fit_damage(table: pd.DataFrame) -> DamageFits:
    """Fit every form of damage to the rows that can be told from zero, and forecast the largest size from the others.

    >>> fit_damage(scaling.read_runs("results/reference/damage.csv")).frame()["law"].tolist()
    ['damage-kumar', 'damage-ouyang', 'damage-noise']

    Args:
        table: Rows of `damage_table`: a size, ``n_tokens``, ``bits``, ``damage``, ``damage_se``.

    Raises:
        FitError: too few rows can be told from zero.
    """
    table = table_given(table, columns=("bits", "damage", "damage_se"), name="table")
    # A run has a row for each number of bits: they share its trunk's noise, which is what clusters are for.
    is_measurable = table["damage"] > MEASURABLE * table["damage_se"]
    often = is_measurable.groupby(table["bits"]).transform("mean") >= MOST_OF_RUNS
    rows = table[is_measurable & often].drop(columns="run_id", errors="ignore")
    least = 1 + max(3, rows["bits"].nunique())
    if len(rows) < least or rows["bits"].nunique() < 2:
        raise FitError(
            f"{len(rows)} rows of damage at {rows['bits'].nunique()} numbers of bits lie clearly above zero — at least "
            f"{least} at two or more are needed; measure fewer bits, or more runs"
        )
    size = size_column([str(name) for name in rows])
    largest = rows[size] == rows[size].max()
    found = []
    for law in DAMAGE_LAWS:
        whole = _fitted(rows, law)
        ahead = np.nan if largest.all() else _error(_fitted(rows[~largest], law), rows[largest])
        found.append(DamageFit(law=law, fit=whole, error=_error(whole, rows), ahead=ahead, n_rows=len(rows)))
    return DamageFits(tuple(found))


def _fitted(rows: pd.DataFrame, law: str) -> Fit:
    # A form whose exponent ends on a bound is still compared: that it does is what the comparison shows.
    return fit(rows, law=law, loss="damage", columns={"bits": "bits"}, delta=0.5, bootstrap=200, strict=False)


def _error(found: Fit, rows: pd.DataFrame) -> float:
    values = {name: rows[column].to_numpy(float) for name, column in found.columns.items() if name in found.law.columns}
    return float(np.sqrt(np.mean(np.log(rows["damage"].to_numpy(float) / found.law.loss(**values)) ** 2)))
