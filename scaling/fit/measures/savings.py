"""From a loss to keystrokes: what share of the keys a student's suggestions save, of its bits of a byte.

``s = c/(1 + (b/b_half)^k)``: a student of no bits b of a byte saves what a keyboard saves that knows every word, c, one
of b_half half of it, and one that knows nothing saves nothing. So ``ln(s/(c − s)) = −k·ln(b/b_half)`` is a line in
ln b; its two coefficients are those of least squares, and residuals are of the logit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit.measures.bounded import Scale
from scaling.fit.prediction import Prediction
from scaling.numbers import check_level
from scaling.records.given import table_given
from scaling.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

SHARE = "of the keys"
"""In what a saving is told."""
LEAST_ROWS = 5
"""Students of different bits from which a line and its scatter can be told."""


@dataclass(frozen=True, kw_only=True)
class SavingsFit(Shown):
    """The line and its doubt. Forecasts are of another student that types the same words.

    Attributes:
        k: Slope, logit for ln b; above zero.
        centre: Mean of the students' ln b.
        at_centre: The logit there.
        ceiling: c.
        scatter: Standard deviation of a student about the line, logit.
        spread: ``Σ (ln b − centre)²``.
        n: Students.
        lowest, highest: Bits of the best and of the worst student.
        words_se: Standard error of one student's savings by the words that happened to be drawn, which all type.
    """

    k: float
    centre: float
    at_centre: float
    ceiling: float
    scatter: float
    spread: float
    n: int
    lowest: float
    highest: float
    words_se: float

    def frame(self) -> pd.DataFrame:
        """One row: the line, its scatter and the students behind it."""
        import pandas as pd

        return pd.DataFrame([vars(self)])

    def __repr__(self) -> str:
        half = math.exp(self.centre + self.at_centre / self.k)
        return f"savings = {self.ceiling:.3f}/(1 + (bits_per_byte/{half:.3f})^{self.k:.3f})"

    def predict(self, bits_per_byte: float, *, level: float = 0.9) -> Prediction:
        """Savings of a student of so many bits, with the interval of a new one; its ``scale`` is of the logit."""
        check_level(level)
        off = math.log(bits_per_byte) - self.centre
        scale = self.scatter * math.sqrt(1 + 1 / self.n + off**2 / self.spread)
        middle = self.at_centre - self.k * off
        far = scale * self._quantile((1 + level) / 2)
        low, value, high = (self._scale.metric(math.exp(-one)) for one in (middle - far, middle, middle + far))
        reach = max(1.0, self.lowest / bits_per_byte, bits_per_byte / self.highest)
        return Prediction(
            value=value, low=low, high=high, level=level, scale=scale, reach={"bits_per_byte": reach}, unit=SHARE
        )

    def of_forecast(self, bits: Prediction) -> Prediction:
        """Savings of a student whose bits of a byte are a forecast: with the doubt of both, as if independent."""
        told = self.predict(bits.value, level=bits.level)
        least, most = (self.predict(end).value for end in (bits.high, bits.low))
        return replace(
            told,
            low=told.value - math.hypot(told.value - told.low, told.value - least),
            high=told.value + math.hypot(told.high - told.value, most - told.value),
        )

    def bits_for(self, savings: float, *, probability: float = 0.5) -> float:
        """The most bits of a byte at which a new student saves so much with a probability.

        Where the line less t times its scale is the target's logit; t is Student's, of the probability.

        Raises:
            SpecError: the savings are none, or more than any keyboard saves.
            FitError: the slope is not known well enough to be sure of them at any loss.
        """
        if not 0 < savings < self.ceiling:
            raise SpecError(
                f"target_savings: got {savings:.1%}, allowed is above 0% and below {self.ceiling:.1%}, which a "
                "keyboard saves that shows every word before its first letter"
            )
        t = self.scatter * self._quantile(probability)
        # What the logit at the centre has too much, and how fast it falls at least.
        gap = self.at_centre + math.log(self._scale.odds(np.asarray(savings)))
        slope_left = self.k**2 - t**2 / self.spread
        if slope_left <= 0:
            raise FitError(f"{self.n} students do not show how savings change with the loss; measure more of them")
        doubt = t * math.sqrt(gap**2 / self.spread + slope_left * (1 + 1 / self.n))
        return math.exp(self.centre + (gap * self.k - doubt) / slope_left)

    @property
    def _scale(self) -> Scale:
        return Scale(high=self.ceiling)

    def _quantile(self, probability: float) -> float:
        from scipy.stats import t

        return float(t.ppf(probability, self.n - 2))


def of_one_kind(table: pd.DataFrame, format: str | None = None) -> pd.DataFrame:
    """The students of a table that are stored in one format and typed the same words: each counts once.

    Args:
        table: As `fit_savings` takes it; what it does not tell of its rows is taken for the same.
        format: Whose rows these are where there are any; else those of the format of most students.
    """
    rows = table[table["model"] == "student"] if "model" in table else table
    # Of most students; of as many those who typed more.
    for name in ("format", "n_words"):
        counts = dict(rows[name].value_counts()) if name in rows else {}
        if len(counts) > 1:
            rows = rows[rows[name] == max(counts, key=lambda one: (one == format, counts[one], one))]
    return rows


def fit_savings(table: pd.DataFrame) -> SavingsFit:
    """The line of the students of a table; n-gram models are left aside.

    >>> fit_savings(scaling.load_runs("results/reference/keyboard.csv"))
    savings = 0.820/(1 + (bits_per_byte/1.946)^2.010)

    Args:
        table: ``savings``, ``savings_se``, ``ceiling`` and ``bits_per_byte`` of students; of several formats or
            numbers of words those of most students count.

    Raises:
        FitError: too few of them save anything, or those of fewer bits save no more.
    """
    rows = of_one_kind(table_given(table, columns=("savings", "savings_se", "ceiling", "bits_per_byte"), name="table"))
    # Who saves nothing has no logit; it is no student that a keyboard would have.
    rows = rows[(rows["savings"] > 0) & (rows["savings"] < rows["ceiling"])]
    if len(rows) < LEAST_ROWS or rows["bits_per_byte"].nunique() < LEAST_ROWS:
        raise FitError(
            f"{len(rows)} students with savings — {LEAST_ROWS} of different losses are needed to tell keystrokes from "
            "a loss; train more of the sweep, then measure it: scaling keyboard"
        )
    bits, ceiling = rows["bits_per_byte"].to_numpy(float), float(rows["ceiling"].iloc[0])
    logit = -np.log(Scale(high=ceiling).odds(rows["savings"].to_numpy(float)))
    off = np.log(bits) - np.log(bits).mean()
    k = -float((off * logit).sum() / (off**2).sum())
    if k <= 0:
        raise FitError("students of a lower loss save no more keystrokes; type more words: scaling keyboard --words")
    residual = logit - logit.mean() + k * off
    return SavingsFit(
        k=k,
        centre=float(np.log(bits).mean()),
        at_centre=float(logit.mean()),
        ceiling=ceiling,
        scatter=float(np.sqrt((residual**2).sum() / (len(rows) - 2))),
        spread=float((off**2).sum()),
        n=len(rows),
        lowest=float(bits.min()),
        highest=float(bits.max()),
        words_se=float(rows["savings_se"].median()),
    )
