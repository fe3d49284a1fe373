"""Bad runs are named: single rows, whole levels; and the forecast without them stands beside the one with them."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest

from scaling.fit.describe import forecast_without_suspects, made_of, summary
from scaling.fit.fitter import fit
from scaling.fit.saved.files import load, save, to_json
from scaling.laws.size_and_data import Chinchilla

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def sweep(seed=0, sizes=8, volumes=6, noise=0.003, trunk=0.0):
    rng = np.random.default_rng(seed)
    n, d = np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, volumes), indexing="ij")
    shared = np.repeat(rng.normal(0, trunk, sizes), volumes)
    loss = TRUTH.loss(n=n.ravel(), d=d.ravel()) * np.exp(shared + rng.normal(0, noise, n.size))
    return pd.DataFrame({"n_params": n.ravel(), "n_tokens": d.ravel(), "loss": loss})


def fitted(runs, law="chinchilla", **options):
    return fit(runs, law=law, bootstrap=50, strict=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["chinchilla", "stack"])
@pytest.mark.parametrize("objective", ["huber", "squared"])
def test_a_loss_ten_times_off_is_named_with_its_size_and_what_to_do(law, objective):
    runs = sweep()
    runs.loc[17, "loss"] *= 10
    (suspect,) = fitted(runs, law, objective=objective).suspects
    assert suspect.rows == (17,)
    assert suspect.shift == pytest.approx(np.log(10), abs=0.02)
    assert "row 17" in suspect.text
    assert re.search(r"(9\.9\d|10|10\.\d) times above the law of the other runs", suspect.text)
    assert not fitted(runs, where=f"loss != {float(runs.loss[17])!r}").suspects


def test_a_diverged_run_among_the_finished_is_named():
    runs = sweep()
    runs.loc[40, "loss"] = 9.8
    found = fitted(runs)
    assert [suspect.rows for suspect in found.suspects] == [(40,)]
    assert "suspect: row 40: loss 9.8" in summary(found)


@pytest.mark.parametrize("level", range(1, 7))
def test_a_model_size_that_is_off_as_a_whole_is_named(level):
    runs = sweep(seed=level)
    size = float(np.unique(runs.n_params)[level])
    runs["loss"] *= np.where(runs.n_params == size, 1.015, 1.0)
    (suspect,) = fitted(runs).suspects
    assert set(suspect.rows) == set(runs.index[runs.n_params == size])
    assert suspect.shift == pytest.approx(0.015, abs=0.005)
    assert f"model size n_params = {size:.4g}" in suspect.text
    assert not fitted(runs, where=f"n_params != {size!r}").suspects


@pytest.mark.parametrize("axis", ["n_params", "n_tokens"])
@pytest.mark.parametrize("apart", [0.0, 0.0016, 0.018])
def test_a_level_whose_values_differ_by_a_step_is_one_and_is_left_out_as_one(axis, apart):
    runs = sweep(seed=3, sizes=8, volumes=8)
    value = np.unique(runs[axis])[4]
    own = runs[axis] == value
    runs["loss"] *= np.where(own, 1.015, 1.0)
    # 79,872 and 80,000 tokens were meant to be one volume.
    runs.loc[own, axis] *= 1 - apart * np.linspace(0, 1, own.sum())
    (suspect,) = fitted(runs).suspects
    assert set(suspect.rows) == set(runs.index[own])
    less = fitted(runs, where=re.search("with where '(.*)'$", suspect.text)[1])
    assert (less.n_runs, less.suspects) == (len(runs) - own.sum(), ())


def test_two_sizes_that_are_off_are_both_named():
    runs = sweep(sizes=12, noise=0.001)
    bad = [float(size) for size in np.unique(runs.n_params)[[3, 8]]]
    runs["loss"] *= np.where(runs.n_params == bad[0], 1.018, np.where(runs.n_params == bad[1], 0.985, 1.0))
    named = [set(runs.n_params[list(suspect.rows)]) for suspect in fitted(runs).suspects]
    assert sorted(named, key=min) == [{bad[0]}, {bad[1]}]


def test_a_data_volume_that_is_off_as_a_whole_is_named():
    runs = sweep(sizes=6, volumes=8)
    volume = np.unique(runs.n_tokens)[4]
    runs["loss"] *= np.where(runs.n_tokens == volume, 0.98, 1.0)
    (suspect,) = fitted(runs).suspects
    assert "data volume n_tokens" in suspect.text
    assert "below the law through the others" in suspect.text


@pytest.mark.slow
@pytest.mark.parametrize(("trunk", "most"), [(0.0, 1), (0.003, 3)])
def test_sound_sweeps_rarely_have_suspects(trunk, most):
    sweeps = (sweep(seed, sizes=6, trunk=trunk) for seed in range(25))
    named = sum(bool(fit(runs, law="chinchilla", bootstrap=0, starts=6).suspects) for runs in sweeps)
    assert named <= most


def test_the_forecast_without_the_suspects_stands_beside_the_one_with_them():
    runs = sweep(noise=0.001)
    runs.loc[47, "loss"] *= 1.5
    found, clean = fitted(runs, objective="squared"), fitted(sweep(noise=0.001)).loss(1e9, 1e11)
    assert found.loss_without_suspects(1e9, 1e11) == pytest.approx(clean, rel=2e-3)
    assert found.loss(1e9, 1e11) > 1.05 * clean
    whole = found.predict(1e9, 1e11, level=0.2, given="law")
    assert whole.value - clean > (whole.high - whole.low) / 2
    assert f"{whole.value:.4f} [" in forecast_without_suspects(found, 1e9, 1e11, level=0.2)
    assert "without rows 47" in forecast_without_suspects(found, 1e9, 1e11, level=0.2)


def test_a_forecast_that_hardly_moves_needs_no_second_one():
    found = fitted(sweep().assign(loss=lambda runs: runs.loss.where(runs.index != 17, 9.8)))
    assert found.suspects
    assert forecast_without_suspects(found, 1e9, 1e11) == ""


def test_a_fit_says_what_it_was_made_of_also_after_it_was_saved(tmp_path):
    runs = sweep().assign(status="done")
    runs.loc[[3, 4], "status"] = "crashed"
    runs.loc[5, "status"] = "diverged"
    runs.loc[17, "loss"] *= 2
    found = fitted(runs, where="n_params > 2e6")
    kept = (runs.n_params > 2e6) & (runs.status == "done")
    assert found.n_runs == kept.sum()
    assert f"{kept.sum()} of 48 rows; where 'n_params > 2e6' left out {(runs.n_params <= 2e6).sum()}" in summary(found)
    save(found, tmp_path / "fit.json")
    again = load(tmp_path / "fit.json")
    assert again.made_of == found.made_of
    assert again.suspects == found.suspects
    assert again.loss_without_suspects(1e9, 1e11) == pytest.approx(found.loss_without_suspects(1e9, 1e11), rel=1e-9)
    assert json.loads(to_json(found))["made_of"] == {"n_rows": 48, "where": "n_params > 2e6", "n_filtered": 6}


def test_rows_left_out_are_counted_by_reason():
    runs = sweep().assign(status="done")
    runs.loc[[3, 4], "status"] = "crashed"
    runs.loc[5, "status"] = "diverged"
    assert made_of(fitted(runs)) == "45 of 48 rows; 2 left out: status crashed; 1 left out: status diverged"


SUMS = ["10 * (val / 10)", "val + 0"]


@pytest.mark.parametrize("name", ["eval/loss", "val loss", "loss (nats)", "it's a loss", "2nd", "in", *SUMS])
def test_a_row_is_left_out_by_the_advice_as_it_is_pasted_whatever_its_column_is_called(name):
    runs = sweep()
    runs.loc[17, "loss"] *= 10
    runs = runs.rename(columns={"loss": "val" if name in SUMS else name})
    (suspect,) = fitted(runs, loss=name).suspects
    (where,) = shlex.split(suspect.text[suspect.text.index("with where ") + len("with where ") :])
    assert not fitted(runs, loss=name, where=where).suspects


@pytest.mark.parametrize("name", ["Model Size", "size/total", "N (all)"])
def test_a_size_is_left_out_by_the_advice_as_it_is_pasted_whatever_its_column_is_called(name):
    runs = sweep(seed=3)
    size = float(np.unique(runs.n_params)[3])
    runs["loss"] *= np.where(runs.n_params == size, 1.015, 1.0)
    runs = runs.rename(columns={"n_params": name})
    (suspect,) = fitted(runs, n=name).suspects
    (where,) = shlex.split(suspect.text[suspect.text.index("with where ") + len("with where ") :])
    assert not fitted(runs, n=name, where=where).suspects
