"""Savings from a loss: the line that made a table is found, its interval holds, its inverse is exact."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, SpecError
from scaling.fit.measures.savings import fit_savings
from scaling.fit.prediction import Prediction

CEILING = 0.8


def students(n: int, seed: int = 0, scatter: float = 0.03, slope: float = 1.5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    bits = rng.uniform(1.8, 2.5, n)
    logit = slope * np.log(2 / bits) + scatter * rng.standard_normal(n)
    savings = CEILING / (1 + np.exp(-logit))
    return pd.DataFrame({"bits_per_byte": bits, "savings": savings, "savings_se": 0.01, "ceiling": CEILING})


def test_the_line_that_made_the_table_is_found():
    found = fit_savings(students(400))
    assert found.k == pytest.approx(1.5, abs=0.06)
    assert found.scatter == pytest.approx(0.03, rel=0.15)
    exact = fit_savings(students(12, scatter=0.0))
    assert exact.predict(2.0).value == pytest.approx(CEILING / 2)
    assert repr(exact) == "savings = 0.800/(1 + (bits_per_byte/2.000)^1.500)"


def test_the_interval_holds_nine_in_ten_new_students():
    held = []
    for seed in range(300):
        rows = students(9, seed)
        found = fit_savings(rows[:8]).predict(rows["bits_per_byte"][8], level=0.9)
        held.append(found.low <= rows["savings"][8] <= found.high)
    assert abs(np.mean(held) - 0.9) < 3 * (0.09 / 300) ** 0.5


def test_a_target_with_a_probability_is_the_loss_whose_lower_end_it_is():
    found = fit_savings(students(10, seed=2))
    for savings in (0.15, 0.25, 0.35):
        assert found.predict(found.bits_for(savings)).value == pytest.approx(savings)
        sure = found.bits_for(savings, probability=0.95)
        assert found.predict(sure, level=0.9).low == pytest.approx(savings)
        assert sure < found.bits_for(savings) < found.bits_for(savings, probability=0.05)


def test_savings_lie_between_none_and_the_ceiling_and_fall_with_the_bits():
    found = fit_savings(students(10))
    values = [found.predict(bits) for bits in (0.01, 1.0, 2.0, 9.0)]
    assert all(0 <= one.low <= one.value <= one.high <= CEILING for one in values)
    assert [one.value for one in values] == sorted((one.value for one in values), reverse=True)
    assert values[2].reach["bits_per_byte"] == 1 < values[1].reach["bits_per_byte"]


def test_of_a_loss_that_is_a_forecast_both_doubts_are_told():
    found = fit_savings(students(10))
    told = found.predict(2.0)
    sure = found.of_forecast(Prediction(2.0, 2.0, 2.0, level=0.9, scale=0.0, reach={}))
    assert (sure.value, sure.low, sure.high) == pytest.approx((told.value, told.low, told.high))
    doubted = found.of_forecast(Prediction(2.0, 1.9, 2.2, level=0.9, scale=0.05, reach={}))
    value, (least, most) = told.value, (found.predict(bits).value for bits in (2.2, 1.9))
    assert doubted.value == value
    assert (value - doubted.low) ** 2 == pytest.approx((value - told.low) ** 2 + (value - least) ** 2)
    assert (doubted.high - value) ** 2 == pytest.approx((told.high - value) ** 2 + (most - value) ** 2)


def test_what_no_keyboard_saves_is_refused_with_what_one_does():
    with pytest.raises(SpecError, match=r"got 90.0%, allowed is above 0% and below 80.0%"):
        fit_savings(students(10)).bits_for(0.9)


def test_students_that_show_no_line_are_refused():
    with pytest.raises(FitError, match="4 students with savings"):
        fit_savings(students(4))
    with pytest.raises(FitError, match="save no more keystrokes"):
        fit_savings(students(20, slope=-1.0))
    with pytest.raises(FitError, match="do not show how savings change"):
        fit_savings(students(6, slope=0.1, scatter=0.02)).bits_for(0.5, probability=0.999)


def test_ngram_models_and_who_saves_nothing_are_left_aside():
    rows = students(10).assign(model="student")
    others = rows.assign(model="ngram", savings=0.5)
    nothing = rows[:2].assign(savings=0.0)
    assert fit_savings(pd.concat([rows, others, nothing])) == fit_savings(rows)
