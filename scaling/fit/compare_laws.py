"""Forms of law beside each other, each fitted to the same runs: who fits, and who foresees the largest runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling.fit.fitter import fit
from scaling.fit.result import Fit
from scaling.laws.law import ScalingLaw
from scaling.shown import Drawn

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LawComparison(Drawn):
    """Laws fitted to the same runs.

    Attributes:
        fits: one a law, in the order asked, usable or not.
    """

    figure: ClassVar[str] = "laws"

    fits: tuple[Fit, ...]

    def frame(self) -> pd.DataFrame:
        """One row a law: coefficients, rms residual of log loss, error of forecasts of the largest runs, whether it may
        be used."""
        import pandas as pd

        return pd.DataFrame([_row(one) for one in self.fits])


def _row(found: Fit) -> dict[str, Any]:
    residuals = np.array(list(found.residuals.values()), float)
    return {
        "law": found.law.name,
        "title": found.law.title,
        "k": len(found.law.names),
        "rms": float(np.sqrt(np.mean(residuals**2))),
        "forecast_error": found.backtest.get("mare", np.nan),
        "usable": found.success,
        "reasons": " ".join(found.status.reasons),
    }


def compare_laws(runs: pd.DataFrame, laws: Sequence[str | ScalingLaw], **options: Any) -> LawComparison:
    """Fit several laws to the same runs.

    >>> compare_laws(runs, ["tied", "chinchilla"], where="teacher == 'real'", bootstrap=0).frame()["k"].tolist()
    [4, 5]

    Args:
        runs: one row a run.
        laws: names, or laws without numbers.
        **options: as of `scaling.fit_law`.

    Raises:
        RecordError: the table cannot be used.
        SpecError: unknown law.
    """
    return LawComparison(fits=tuple(fit(runs, law=law, **{"strict": False, **options}) for law in laws))
