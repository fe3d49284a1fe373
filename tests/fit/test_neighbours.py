"""Forecasts are given the runs: a cell answers for itself, neighbours move the law, and far away it stays alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling.errors import ExtrapolationError, ExtrapolationWarning
from scaling.fit.doubt.calibrate import missed
from scaling.fit.evidence import Status
from scaling.fit.fitter import fit
from scaling.fit.neighbours import LENGTH, OTHER_TEXT, Runs, correlation_of, influence, shared_scatter
from scaling.fit.prediction import points
from scaling.fit.reach import mind_reach
from scaling.fit.saved.files import digest, load, save, to_json
from scaling.fit.stack.validate import Score, Validation
from scaling.laws.size_and_data import Chinchilla

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)
SIZES, VOLUMES = np.geomspace(1e6, 6.4e7, 7), np.geomspace(1e8, 6.4e9, 7)


def bend(n, d):
    """What no power law says: a slow wave of 2 % over both axes."""
    return 0.02 * np.sin(1.5 * np.log(n / 1e6)) * np.cos(1.2 * np.log(d / 1e8))


def sweep(bent=1.0, noise=0.001, seed=0) -> pd.DataFrame:
    n, d = (grid.ravel() for grid in np.meshgrid(SIZES, VOLUMES, indexing="ij"))
    loss = TRUTH.loss(n=n, d=d) * np.exp(bent * bend(n, d) + np.random.default_rng(seed).normal(0, noise, n.size))
    return pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss})


def fitted(runs: pd.DataFrame):
    return fit(runs, law="chinchilla", bootstrap=0, starts=4, strict=False)


@pytest.fixture(scope="module")
def found():
    return fitted(sweep())


def known(n, d, teacher=0.0, **columns):
    arrays = np.broadcast_arrays(*(np.asarray(values, float) for values in (n, d, teacher, *columns.values())))
    return dict(zip(("n", "d", "teacher", *columns), map(np.atleast_1d, arrays), strict=True))


def test_between_runs_off_the_law_a_forecast_follows_them(found):
    n, d = (grid.ravel() for grid in np.meshgrid(*(np.sqrt(x[1:] * x[:-1]) for x in (SIZES, VOLUMES))))
    truth = TRUTH.loss(n=n, d=d) * np.exp(bend(n, d))
    alone, given = (found.predict(n, d, given=name) for name in ("law", "runs"))
    missed = [np.mean(np.abs(np.log(told.value / truth))) for told in (alone, given)]
    assert missed[1] < 0.3 * missed[0]
    assert np.mean(given.scale) < np.mean(alone.scale)
    assert np.mean((given.low < truth) & (truth < given.high)) > 0.8
    assert np.all(given.near >= 4)
    assert given.basis[0] == f"law given {given.near[0]} runs nearby"


def test_far_from_the_runs_the_law_speaks_alone(found):
    n, d = 8 * SIZES[-1], 8 * VOLUMES[-1]
    alone, given = (found.predict(n, d, given=name) for name in ("law", "runs"))
    assert given.value == pytest.approx(alone.value, rel=1e-3)
    assert given.scale == pytest.approx(alone.scale, rel=0.02)
    assert (given.near, given.basis) == (0, "law alone")


def test_runs_that_scatter_each_for_itself_leave_forecasts_to_the_law():
    runs = fitted(sweep(bent=0.0, noise=0.003)).runs
    assert runs.share == 0.0
    bent = bend(runs.columns["n"], runs.columns["d"])
    assert shared_scatter(runs, bent, np.ones((49, 1)), np.arange(49), correlation_of(runs.columns)) > 0


def test_noise_that_a_trunk_shares_is_not_taken_for_what_neighbours_share():
    n, d = (grid.ravel() for grid in np.meshgrid(4.0 ** np.arange(10, 17), 1.3 ** np.arange(70, 77), indexing="ij"))
    trunk = np.repeat(np.arange(7), 7)
    runs, residual = Runs(known(n, d), np.ones(49), np.zeros(49, bool)), 0.01 * (-1.0) ** trunk
    near = correlation_of(runs.columns)
    assert shared_scatter(runs, residual, np.ones((49, 1)), np.arange(49), near) > 0
    assert shared_scatter(runs, residual, np.ones((49, 1)), trunk, near) == 0


def test_a_cell_that_was_measured_answers_with_its_measurement(found):
    runs = sweep()
    told = found.predict(runs.n_params, runs.n_tokens)
    np.testing.assert_allclose(told.value, runs.loss, rtol=1e-9)
    assert set(told.basis) == {"measured"}
    one, mean = (found.predict(SIZES[3], VOLUMES[3], of=of) for of in ("run", "mean"))
    assert one.scale == pytest.approx(math.sqrt(2) * mean.scale), "another seed differs, and so did the one measured"
    assert found.probability(one.high, SIZES[3], VOLUMES[3]) == pytest.approx(0.95, abs=2e-3)


def test_seeds_of_a_cell_answer_with_their_mean_and_their_own_scatter():
    runs = pd.concat([sweep(seed=seed) for seed in range(3)], ignore_index=True)
    told = fitted(runs).predict(SIZES[2], VOLUMES[4])
    here = runs.loss[np.isclose(runs.n_params, SIZES[2]) & np.isclose(runs.n_tokens, VOLUMES[4])]
    assert told.value == pytest.approx(math.exp(np.log(here).mean()))
    assert (told.measured, told.basis) == (3, "measured")
    assert told.scale == pytest.approx(0.001 * math.sqrt(4 / 3), rel=0.2)


def test_a_bad_row_says_nothing_of_its_neighbours():
    runs = sweep()
    runs.loc[24, "loss"] *= 1.3
    bad, sound = fitted(runs), fitted(sweep())
    beside = (SIZES[3] * 1.2, VOLUMES[3] * 1.2)
    assert bad.runs.off.tolist() == [i == 24 for i in range(49)]
    assert bad.predict(*beside).value == pytest.approx(sound.predict(*beside).value, rel=3e-3)


def test_weights_are_those_of_kriging():
    rng = np.random.default_rng(0)
    runs = known(10 ** rng.uniform(6, 7, 12), 10 ** rng.uniform(8, 9, 12), rng.integers(0, 2, 12))
    points, share = known([3e6, 5e6], [2e8, 3e8], [0, 1]), 0.8

    def covariance(a, b):
        r = np.hypot(
            np.subtract.outer(np.log(a["n"]), np.log(b["n"])), np.subtract.outer(np.log(a["d"]), np.log(b["d"]))
        )
        r = math.sqrt(3) * r / LENGTH
        return share * (1 + r) * np.exp(-r) * np.where(np.equal.outer(a["teacher"], b["teacher"]), 1, OTHER_TEXT)

    expected = np.linalg.solve(covariance(runs, runs) + (1 - share) * np.eye(12), covariance(runs, points)).T
    given = influence(points, runs, share, None)
    np.testing.assert_allclose(given.weighed(np.eye(12)).T, expected, rtol=1e-9)
    np.testing.assert_allclose(given.left, 1 - np.sum(expected * covariance(points, runs), axis=1), rtol=1e-9)
    some = np.arange(12) % 2 == 0
    assert not influence(points, runs, share, some).weighed(np.eye(12))[~some].any()


def test_a_text_told_by_its_divergence_is_not_the_one_that_was_measured():
    runs = Runs(known([1e6], [1e8], 0.0, delta_noise=0.0, delta_coverage=0.0), np.array([2.0]), np.array([False]))
    asked = known([1e6], [1e8], 0.0, delta_noise=[0.0, 0.1], delta_coverage=0.0)
    assert runs.at(asked)[:, 0].tolist() == [True, False]


def test_a_saved_fit_keeps_its_runs_and_one_of_before_has_none(found, tmp_path):
    path = tmp_path / "fit.json"
    save(found, path)
    again, between = load(path), (2e6, 2e8)
    assert again.predict(*between).value == pytest.approx(found.predict(*between).value, rel=1e-9)
    assert again.predict(*between).basis == found.predict(*between).basis
    older = json.loads(to_json(found))
    del older["runs"], older["calibration"]["inside"]
    path.write_text(json.dumps(older | {"digest": digest(older)}))
    assert load(path).predict(*between).basis == "law alone"
    assert load(path).predict(*between).value == found.predict(*between, given="law").value


def test_far_beyond_the_runs_python_warns_and_refuses_where_a_decision_asks(found):
    n, d = 1e8, 1e10
    assert found.predict(n, d).reach["n"] == pytest.approx(1e8 / 6.4e7)
    for ask in (found.predict, lambda *at, **how: found.probability(2.0, *at, **how)):
        with pytest.raises(ExtrapolationError, match=r"at most 10× is trusted .* force=True") as refused:
            ask([n, 100 * 6.4e7], d, force=False)
        with pytest.warns(ExtrapolationWarning, match="at most 10× is trusted") as warned:
            ask([n, 100 * 6.4e7], d)
        assert warned[0].filename == __file__
        assert refused.value.exit_code == 3
        assert np.all(np.isfinite(np.asarray(getattr(ask([n, 6.4e9], d, force=True), "value", 0.5))))
    assert found.predict(math.inf, math.inf).value < found.predict(n, d).value, "a limit is no claim about a run"


def test_where_a_text_lies_beyond_those_of_the_runs_it_is_named_and_not_the_sizes():
    texts = {"real": {"delta_noise": 0.0}, "noise 0.2": {"delta_noise": 0.1}}
    at = points(texts, 2e6, 2e8, delta_noise=2.0)
    with pytest.raises(ExtrapolationError, match=r"^delta_noise = 2 lies 20× beyond .*\(delta_noise up to 0\.1\)"):
        mind_reach(at, {"n": (1e6, 1e7), "d": (1e8, 1e9)}, texts, identified=True, force=False)


def test_beyond_runs_that_do_not_determine_the_floor_python_warns_or_refuses_too(found):
    status = Status(converged=True, interior=False, identified=True, reasons=("E ended on a bound.",))
    open_ended = replace(found, status=status)
    assert open_ended.predict(2e6, 2e8).value == found.predict(2e6, 2e8).value
    for n in (1e8, math.inf):
        with pytest.raises(ExtrapolationError, match="do not determine its floor"):
            open_ended.predict(n, 1e9, force=False)
        with pytest.warns(ExtrapolationWarning, match="do not determine its floor"):
            open_ended.predict(n, 1e9)
    # A run that was asked for 6.4e7 ends at a whole step below it.
    assert open_ended.predict(1.01 * 6.4e7, 2e8, force=False).basis
    assert open_ended.predict(1e8, 1e9, force=True).value == found.predict(1e8, 1e9).value


def test_forecasts_are_left_to_the_law_where_the_runs_would_make_larger_ones_worse(monkeypatch, found):
    asked = []

    def worse_given(scores):
        asked.append(scores)
        return float(len(asked) == 1)  # of the stack that is given the runs, which is judged first

    monkeypatch.setattr("scaling.fit.fitter.missed", worse_given)
    alone = fitted(sweep())
    assert len(asked) == 2
    assert (found.runs.share, alone.runs.share) == (0.8, 0.0)
    n, d = SIZES[2] * 1.4, VOLUMES[2] * 1.4
    assert alone.predict(n, d).value == alone.predict(n, d, given="law").value


def test_what_is_missed_is_a_mean_over_cuts_of_members_weighted_by_the_others():
    def score(*errors):
        error = np.array(errors)
        return Score("n", error, np.zeros_like(error), np.zeros_like(error), np.ones(error.shape[1]))

    # Each cut is forecast by the member that was right in the other: by 0.02, then by 0.01.
    cuts = score([1e-9, 1e-9], [0.02, -0.02]), score([0.01, 0.01], [1e-9, 1e-9])
    assert missed(Validation(cuts)) == pytest.approx((math.log(0.02) + math.log(0.01)) / 2, abs=1e-3)
    assert missed(Validation()) == 0.0


def test_a_run_of_another_text_says_half_of_what_one_of_the_same_says():
    runs = Runs(known(1e6, 1e8, teacher=1.0, delta_noise=0.2), np.array([2.0]), np.array([False]), share=0.8)
    here = {text: known(1e6, 1e8, teacher=text, delta_noise=noise) for text, noise in ((1.0, 0.2), (0.0, 0.0))}
    assert [float(runs.influence(here[text]).weights[0, 0]) for text in (1.0, 0.0)] == pytest.approx([0.8, 0.4])
