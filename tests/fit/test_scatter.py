"""Scatter of runs divided into evaluation, training and misfit; forecasts of one run and of the mean of many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling.errors import SpecError
from scaling.fit.describe import summary
from scaling.fit.doubt.by_size import size_trend
from scaling.fit.doubt.covariance import CENTRAL, NORMAL, scatter
from scaling.fit.doubt.scatter import scatter_parts, settings_of
from scaling.fit.fitter import fit
from scaling.fit.saved.files import load, save
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.laws.size_and_data import Chinchilla
from scaling.tables.observe import observe

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def sweep(seeds=4, training=0.004, evaluation=0.002, misfit=0.0, seed=0):
    rng = np.random.default_rng(seed)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    off = np.repeat(rng.normal(0, misfit, n.size), seeds)
    n, d = np.repeat(n, seeds), np.repeat(d, seeds)
    noise = off + rng.normal(0, training, n.size) + rng.normal(0, evaluation, n.size)
    loss = TRUTH.loss(n=n, d=d) * np.exp(noise)
    ids = [f"r{i}" for i in range(n.size)]
    return pd.DataFrame({"run_id": ids, "n_params": n, "n_tokens": d, "loss": loss, "loss_se": evaluation * loss})


def test_the_parts_of_a_simulated_scatter_are_found():
    found = fit(sweep(misfit=0.006), law="chinchilla", bootstrap=0, objective="squared").scatter
    assert found.evaluation == pytest.approx(0.002, rel=1e-6)
    assert found.training == pytest.approx(0.004, rel=0.2)
    assert found.misfit == pytest.approx(0.006, rel=0.35)
    assert found.n_repeats == 108


def test_parts_by_hand():
    residual = np.array([0.01, 0.03, -0.02, 0.02])
    found = scatter_parts(0.05, residual, np.ones(4), np.full(4, 0.01), np.array([0, 0, 1, 1]))
    # Two settings of one degree of freedom each are too few; a third makes three.
    assert found.training is None
    residual, setting = np.append(residual, [0.0, 0.0]), np.array([0, 0, 1, 1, 2, 2])
    found = scatter_parts(0.05, residual, np.ones(6), np.full(6, 0.01), setting)
    within = (2 * 0.01**2 + 2 * 0.02**2) / 3
    assert found.training == pytest.approx(np.sqrt(within - 0.01**2))
    assert found.misfit == pytest.approx(np.sqrt(0.05**2 - within))


def test_without_repeats_or_standard_errors_nothing_is_divided():
    found = fit(sweep(seeds=1).drop(columns="loss_se"), law="chinchilla", bootstrap=0)
    assert (found.scatter.evaluation, found.scatter.training, found.scatter.misfit) == (None, None, None)
    assert found.scatter.total == pytest.approx(found.calibration.noise)


def test_settings_are_told_apart_by_every_column():
    assert settings_of(np.array([0, 0, 1]), np.array([5.0, 5.0, 5.0])).tolist() == [0, 0, 1]
    teacher, n, d = np.array([[1, 0, 0, 1, 0, 0], [2, 2, 1, 2, 2, 2], [7, 9, 7, 7, 7, 9]])
    assert settings_of(teacher, n, d).tolist() == [3, 2, 0, 3, 1, 2]


def test_the_scatter_of_one_run_is_read_off_the_runs_that_count():
    rng = np.random.default_rng(0)
    residual, k = rng.normal(0, 0.01, (3, 50)), 5
    weights = np.ones((3, 50))
    weights[1, ::3], weights[2] = 0, 4
    for row, one in enumerate(scatter(residual, weights, k)):
        size = np.abs(residual[row]) * np.sqrt(weights[row])
        counted = size[weights[row] > 0]
        lost = np.sqrt(len(counted) / (len(counted) - k))
        assert one == pytest.approx(np.quantile(counted, CENTRAL) / NORMAL * lost, rel=1e-12)
    # A run of weight one scatters twice as much as one of four times its weight.
    assert scatter(residual[:1], weights[2:], k) == pytest.approx(2 * scatter(residual[:1], weights[:1], k))


def test_a_fit_says_its_scatter_in_parts_also_after_it_was_saved(tmp_path):
    found = fit(sweep(), law="chinchilla", bootstrap=0)
    assert "of it evaluation 0.20%, training 0." in summary(found)
    save(found, tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").scatter == found.scatter


def uneven(slope, seed=0, seeds=3):
    """Six sizes, four volumes; the scatter of seeds goes as n^slope and is .4 % in the middle."""
    rng = np.random.default_rng(seed)
    n, d = (np.repeat(g, seeds) for g in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 4)))
    n, d = n.ravel(), d.ravel()
    loss = TRUTH.loss(n=n, d=d) * np.exp(rng.normal(0, 0.004 * (n / 10**7.5) ** slope))
    return pd.DataFrame({"run_id": [f"r{i}" for i in range(n.size)], "n_params": n, "n_tokens": d, "loss": loss})


def test_scatter_that_falls_with_size_is_found_weighs_runs_and_narrows_forecasts_of_large_ones(tmp_path):
    found = fit(uneven(-0.3), law="chinchilla", bootstrap=0, starts=4)
    trend = found.calibration.trend
    assert trend.slope == pytest.approx(-0.3, abs=0.06)
    ends = [found.calibration.noise_at(n) for n in (1e6, 1e9)]
    assert ends == pytest.approx([0.0112, 0.0014], rel=0.4)
    assert found.calibration.noise_at(1e12) == ends[1], "no seed says how it goes on"
    held = {"of": "run", "level": 0.9}
    assert found.predict(1e9, 1e10, **held).scale < 0.5 * found.predict(1e6, 1e10, **held).scale
    assert "seeds scatter as N^-0." in summary(found)
    save(found, tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").calibration.trend == trend


def test_weights_by_size_bring_the_exponents_nearer_to_the_truth():
    def miss(by_size):
        errors = []
        for seed in range(6):
            table = uneven(-0.3, seed=seed)
            data = observe(table, columns={"n": "n_params", "d": "n_tokens"})
            noise = size_trend(data, Chinchilla(), Objective()).relative(data.columns["n"]) if by_size else None
            best = search(make_problem(Chinchilla(), replace(data, relative_noise=noise), Objective()), count=4)
            errors.append(best.theta[3] - TRUTH.values["alpha"])
        return np.sqrt(np.mean(np.square(errors)))

    assert miss(True) < 0.8 * miss(False)


def test_a_run_of_twice_the_scatter_weighs_a_quarter():
    data = observe(sweep(seeds=1).drop(columns="loss_se"), columns={"n": "n_params", "d": "n_tokens"})
    noisy = replace(data, relative_noise=np.where(data.columns["n"] < 1e7, 2.0, 1.0))
    weights = make_problem(Chinchilla(), noisy, Objective()).weights
    np.testing.assert_allclose(weights, np.where(data.columns["n"] < 1e7, 0.25, 1.0))


def test_scatter_that_does_not_change_with_size_leaves_weights_alone():
    trends = [fit(uneven(0.0, seed=s), law="chinchilla", bootstrap=0, starts=2).calibration.trend for s in range(8)]
    assert trends == [None] * 8


def test_without_seeds_or_with_two_sizes_no_trend_is_claimed():
    table = uneven(-0.3)
    single = table.drop_duplicates(["n_params", "n_tokens"])
    two_sizes = table[table.n_params.isin(table.n_params.unique()[:2])]
    for part in (single, two_sizes):
        data = observe(part, columns={"n": "n_params", "d": "n_tokens"})
        assert size_trend(data, Chinchilla(), Objective()) is None


def test_one_diverged_seed_is_no_trend():
    table = uneven(0.0)
    table.loc[table.n_params.idxmax(), "loss"] *= 1.5
    data = observe(table, columns={"n": "n_params", "d": "n_tokens"})
    assert size_trend(data, Chinchilla(), Objective()) is None


def test_the_mean_of_many_runs_is_known_better_than_one_run():
    found = fit(sweep(), law="chinchilla", bootstrap=50)
    one, mean = (found.predict(1e9, 1e11, of=of, given="law") for of in ("run", "mean"))
    assert mean.value == one.value
    factor = float(found.calibration.factor(np.array(1.0), np.array(1.0)))
    assert one.scale**2 - mean.scale**2 == pytest.approx((found.calibration.noise * factor) ** 2)
    assert mean.high - mean.low < 0.6 * (one.high - one.low)
    with pytest.raises(SpecError, match="of 'run' or of 'mean'"):
        found.predict(1e9, 1e11, of="median")


def test_intervals_of_the_mean_cover_the_truth():
    inside = []
    for seed in range(12):
        found = fit(sweep(seeds=1, seed=seed), law="chinchilla", bootstrap=0, starts=4)
        mean = found.predict(3e8, 3e10, of="mean")
        inside.append(mean.low < TRUTH.loss(n=3e8, d=3e10) < mean.high)
    assert np.mean(inside) > 0.6
