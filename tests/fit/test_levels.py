"""Whatever makes an interval refuses a level that is no probability, before it works."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.curves.fitter import fit_curve
from scaling.errors import SpecError
from scaling.fit.allocation.approaches import envelope, isoflop
from scaling.fit.allocation.frontier import frontier
from scaling.fit.allocation.optimal import best_of_budget
from scaling.fit.backtest import backtest
from scaling.fit.compare import compare
from scaling.fit.doubt.profile import profile
from scaling.fit.measures.odds import fit_odds, most_share
from scaling.fit.measures.savings import SavingsFit
from scaling.fit.measures.transfer import fit_transfer, transfer
from scaling.fit.result import Fit

NOTHING = np.empty(0)
CURVE = fit_curve([1e6, 2e6, 4e6, 8e6], [2.0, 1.8, 1.62, 1.458], form="m1")
# The level is looked at first: what else is asked is not even read.
MAKERS = {
    "curve": lambda level: CURVE.predict(1e7, level=level),
    "fit": lambda level: Fit.predict(None, 1e7, 1e9, level=level),
    "coefficients": lambda level: Fit.interval(None, level),
    "floor": lambda level: Fit.floor_interval(None, level=level),
    "odds": lambda level: fit_odds(None, "right", trials=1, level=level),
    "no right answer": lambda level: most_share(10, level),
    "savings": lambda level: SavingsFit.predict(None, 1.0, level=level),
    "comparison": lambda level: compare(None, ("a", "b"), level=level),
    "transfer": lambda level: transfer(None, level=level),
    "law of transfer": lambda level: fit_transfer([], level=level),
    "envelope": lambda level: envelope(NOTHING, NOTHING, NOTHING, level=level),
    "isoflop": lambda level: isoflop(NOTHING, NOTHING, NOTHING, level=level),
    "optimum": lambda level: best_of_budget(None, 1e18, level=level),
    "frontier": lambda level: frontier(None, 1e18, level=level),
    "backtest": lambda level: backtest(None, level=level),
    "profile": lambda level: profile(None, None, "E", level=level),
}


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.1, 90, math.nan])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_level_that_is_no_probability_is_refused_at_once(maker, level):
    with pytest.raises(SpecError, match=f"^level: got {level:g}, allowed is a probability between 0 and 1"):
        maker(level)
