"""Metrics between two bounds: fitted by their odds, forecast inside the bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import RecordError, SpecError
from scaling.fit.measures.bounded import Scale, fit_bounded
from scaling.laws.size_and_data import Chinchilla

ODDS = Chinchilla(E=0.05, A=60.0, B=300.0, alpha=0.30, beta=0.33)


def sweep(scale, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    odds = ODDS.loss(n=n, d=d) * np.exp(rng.normal(0, noise, n.size))
    return pd.DataFrame({"n_params": n, "n_tokens": d, "accuracy": scale.metric(odds)})


@given(
    st.floats(1e-6, 1e6),
    st.builds(Scale, low=st.floats(-2, 0.4), high=st.floats(0.5, 3), rises=st.booleans()),
)
def test_odds_and_metric_are_inverse_and_inside_the_bounds(odds, scale):
    metric = scale.metric(odds)
    assert scale.low <= metric <= scale.high
    assert float(scale.odds(np.asarray(metric))) == pytest.approx(odds, rel=1e-3)


def test_log_odds_are_the_logit():
    assert np.log(Scale().odds(np.array(0.8))) == pytest.approx(-np.log(0.8 / 0.2))
    assert np.log(Scale(rises=False).odds(np.array(0.8))) == pytest.approx(np.log(0.8 / 0.2))


@pytest.mark.parametrize("scale", [Scale(), Scale(low=0.25), Scale(rises=False), Scale(low=-1, high=100)])
def test_exact_metrics_give_the_exact_law_and_its_forecasts(scale):
    found = fit_bounded(sweep(scale), "accuracy", scale=scale, law="chinchilla", bootstrap=0)
    assert found.fit.params["alpha"] == pytest.approx(0.30, rel=1e-4)
    truth = scale.metric(float(ODDS.loss(n=1e10, d=1e12)))
    assert found.predict(1e10, 1e12).value == pytest.approx(truth, rel=1e-5)
    assert found.limit == pytest.approx(scale.metric(0.05), rel=1e-3)


@pytest.mark.parametrize("rises", [True, False])
def test_intervals_stay_inside_the_bounds_and_are_of_the_distribution_of_probabilities(rises):
    scale = Scale(rises=rises)
    found = fit_bounded(sweep(scale, noise=0.05), "accuracy", scale=scale, law="chinchilla", bootstrap=50)
    there = found.predict(3e9, 3e11, level=0.8)
    assert 0 < there.low < there.value < there.high < 1
    assert found.probability(there.high, 3e9, 3e11) == pytest.approx(0.1 if rises else 0.9, abs=0.01)
    assert found.probability(there.low, 3e9, 3e11) == pytest.approx(0.9 if rises else 0.1, abs=0.01)


def test_a_share_on_its_bound_counts_as_half_a_trial_less():
    runs = sweep(Scale())
    runs.loc[3, "accuracy"] = 1.0
    with pytest.raises(RecordError, match="row 3: 1: for shares on a bound give the number of questions"):
        fit_bounded(runs, "accuracy", law="chinchilla", bootstrap=0)
    found = fit_bounded(runs, "accuracy", trials=1000, law="chinchilla", bootstrap=0)
    assert found.fit.n_runs == 36
    runs.loc[3, "accuracy"] = 1.2
    with pytest.raises(RecordError, match="row 3: 1.2"):
        fit_bounded(runs, "accuracy", trials=1000, law="chinchilla", bootstrap=0)


def test_rows_that_are_not_fitted_may_lie_on_a_bound():
    runs = sweep(Scale()).assign(split="test", status="done")
    options = {"law": "chinchilla", "bootstrap": 0}
    expected = fit_bounded(runs.drop(index=[3, 4, 5]), "accuracy", **options).fit.params
    runs.loc[3, ["accuracy", "split"]] = [1.0, "train"]
    runs.loc[4, ["accuracy", "status"]] = [1.0, "failed"]
    runs.loc[5, ["accuracy", "split"]] = [np.nan, "train"]
    found = fit_bounded(runs.set_index(np.zeros(36)), "accuracy", where="split == 'test'", **options).fit
    assert found.params == expected
    assert (found.made_of.n_filtered, len(found.excluded)) == (2, 1)
    with pytest.raises(RecordError, match=r"got row 3: 1, row 5: nan: .* or leave those rows out \(where\)"):
        fit_bounded(runs, "accuracy", **options)
    with pytest.raises(RecordError, match="the table has no rows: .* check the path and the filter"):
        fit_bounded(runs, "accuracy", where="split == 'none'", **options)
    # A filter may name texts as a fit does.
    texts = {"columns": {"teacher": "corpus"}, "where": "teacher == 'real'"}
    assert fit_bounded(sweep(Scale()).assign(corpus="real"), "accuracy", **texts, **options).fit.n_runs == 36


def test_a_metric_is_told_by_its_name_and_its_odds_as_odds():
    found = fit_bounded(sweep(Scale()), "accuracy", law="chinchilla", bootstrap=0)
    said = [
        found,
        found.frame(),
        found.fit,
        found.predict(1e9, 1e11),
        found.fit.predict(1e9, 1e11),
        *found.fit.status.notes,
    ]
    assert not [text for text in map(str, said) if "nats" in text or "bits" in text]
    assert str(found.predict(1e9, 1e11)).startswith("0.8064 accuracy")
    assert str(found.fit.predict(1e9, 1e11)).startswith("0.2400 odds")


def test_targets_and_bounds_that_cannot_be_are_refused():
    found = fit_bounded(sweep(Scale()), "accuracy", law="chinchilla", bootstrap=0)
    with pytest.raises(SpecError, match="between 0 and 1, got 1"):
        found.probability(1.0, 1e9, 1e11)
    with pytest.raises(SpecError, match="bounds rise"):
        fit_bounded(sweep(Scale()), "accuracy", scale=Scale(low=1, high=0))
