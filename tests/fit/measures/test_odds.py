"""Odds of right answers against size and data: worked cases, coverage, and what cannot be said."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.fit.measures.odds import fit_odds, most_share


def cells(shares, n=(1, 1, 4, 4), d=(1, 16, 1, 16)) -> pd.DataFrame:
    return pd.DataFrame({"n_params": n, "n_tokens": d, "right": shares})


def test_exponents_are_the_logits_slope_where_the_law_holds_exactly():
    """Odds 1, 4, 2, 8: a fourfold size doubles them, sixteenfold data makes them four times as high."""
    found = fit_odds(cells([1 / 2, 4 / 5, 2 / 3, 8 / 9]), "right", trials=90)
    assert found.exponents["n_params"].value == pytest.approx(1 / 2)
    assert found.exponents["n_tokens"].value == pytest.approx(1 / 2)
    assert found.frame()["exponent"].tolist() == pytest.approx([0.5, 0.5])
    assert found.dispersion == 1.0
    assert found.freedom == 1


def test_two_cells_give_the_textbook_error_of_a_log_odds_ratio():
    """se² = Σ 1/(n m (1 − m)) with n = 100 and m = .5, .8, of a slope over ln 16."""
    found = fit_odds(cells([0.5, 0.8], n=(1, 1), d=(1, 16)), "right", trials=100, over=["n_tokens"], level=0.9)
    slope = found.exponents["n_tokens"]
    error = math.sqrt(1 / 25 + 1 / 16) / math.log(16)
    assert slope.value == pytest.approx(math.log(4) / math.log(16))
    assert (slope.high - slope.low) / 2 == pytest.approx(1.6448536 * error, rel=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say_with_scatter_beyond_the_questions():
    rng, inside = np.random.default_rng(0), []
    n, d = (grid.ravel() for grid in np.meshgrid([1, 2, 4], [1, 4, 16, 64]))
    for _ in range(300):
        logit = -1 + 0.4 * np.log(n) + 0.5 * np.log(d) + rng.normal(0, 0.3, n.size)
        shares = rng.binomial(400, 1 / (1 + np.exp(-logit))) / 400
        found = fit_odds(cells(shares, n, d), "right", trials=400, level=0.8).exponents
        inside += [found["n_params"].low < 0.4 < found["n_params"].high]
        inside += [found["n_tokens"].low < 0.5 < found["n_tokens"].high]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.06)


def test_a_share_on_its_bound_counts_as_it_is():
    found = fit_odds(cells([0.4, 0.9, 0.6, 1.0]), "right", trials=50)
    lower = fit_odds(cells([0.4, 0.9, 0.6, 0.98]), "right", trials=50)
    assert lower.exponents["n_tokens"].value < found.exponents["n_tokens"].value < 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (cells([0.0, 0.0, 0.0, 0.0]), "at their bounds"),
        (cells([0.0, 1.0, 0.0, 1.0]), "at their bounds"),
        (cells([0.1, 1.5, 0.1, 0.1]), "allowed is 0 to 1"),
        (cells([0.1, 0.2, 0.3, 0.4], n=(1, 1, 1, 1)), "vary by itself"),
        (cells([0.1, 0.2, 0.3, 0.4], n=(0, 1, 2, 3)), "positive"),
    ],
)
def test_what_determines_no_slope_is_refused(table, message):
    with pytest.raises(RecordError, match=message):
        fit_odds(table, "right", trials=100)


def test_none_of_many_says_how_rare_it_is():
    assert (1 - most_share(2520, 0.9)) ** 2520 == pytest.approx(0.1)
