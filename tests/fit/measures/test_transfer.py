"""Effective data transferred: recovered from curves that were made with it, and refused where nothing tells it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

from scaling.errors import RecordError
from scaling.fit.measures.transfer import fit_transfer, transfer

SIZES, READ, FRESH = (2e4, 1e5, 4e5), 1e4 * 2.0 ** np.arange(5), 2.5e3 * 2.0 ** np.arange(14)
K, ALPHA, BETA = 60.0, 0.3, 0.55


def loss_of(n, d, floor: float = 0.0):
    return floor + 40 * n**-0.1 * d**-0.25


def table(*, floor: float = 0.0, noise: float = 0.0, seeds: int = 1, fresh=FRESH, k: float = K) -> pd.DataFrame:
    """Runs of random weights, and such that a text before was worth k D_F^alpha N^beta tokens to."""
    rows = []
    for seed in range(seeds):
        for n in SIZES:
            rows += [("", 0, n, d, seed, loss_of(n, d, floor)) for d in fresh]
            gained = k * READ**ALPHA * n**BETA
            rows += [
                ("w1 real", 5e5, n, d, seed, loss)
                for d, loss in zip(READ, loss_of(n, READ + gained, floor), strict=True)
            ]
    runs = pd.DataFrame(rows, columns=["start", "start_tokens", "n_params", "n_tokens", "seed", "loss"])
    runs["loss"] *= np.exp(np.random.default_rng(0).normal(0, noise, len(runs)))
    return runs.assign(start_text_id=runs["start"], text_id="a", status="done")


def test_what_was_transferred_and_its_law_are_recovered_from_the_curves():
    found = transfer(table())
    assert len(found.points) == len(SIZES) * len(READ)
    for point in found.points:
        assert point.transferred == pytest.approx(K * point.d**ALPHA * point.n**BETA, rel=1e-9)
    (law,) = found.laws
    assert (law.law.k, law.law.alpha, law.law.beta) == pytest.approx((K, ALPHA, BETA), rel=1e-6)
    assert law.rms < 1e-9
    assert law.law.value(2e4, 1e4) == pytest.approx(K * 1e4**ALPHA * 2e4**BETA)
    frame = found.frame()
    assert (frame["effective"] - frame["d"] == frame["transferred"]).all()


def test_between_two_runs_a_floor_costs_a_few_percent():
    for point in transfer(table(floor=1.0)).points:
        assert point.effective == pytest.approx(point.d + K * point.d**ALPHA * point.n**BETA, rel=0.03)


def test_intervals_hold_what_the_noisy_runs_were_made_with():
    (law,) = transfer(table(noise=0.003, seeds=2)).laws
    assert (law.n_trainings, law.n_points) == (6, 30)
    for name, exact in (("k", K), ("alpha", ALPHA), ("beta", BETA)):
        low, high = getattr(law.low, name), getattr(law.high, name)
        assert low < exact < high
    assert law.high.alpha - law.low.alpha < 0.3


def test_an_interval_is_the_jackknife_over_trainings_by_hand():
    found = transfer(table(noise=0.003, seeds=2))
    trainings = sorted({(point.n, point.seed) for point in found.points})
    without = [
        fit_transfer([point for point in found.points if (point.n, point.seed) != left]).law.alpha for left in trainings
    ]
    error = np.sqrt(5 / 6 * np.sum((without - np.mean(without)) ** 2))
    (law,) = found.laws
    assert law.high.alpha - law.low.alpha == pytest.approx(2 * stdtrit(5, 0.95) * error)


def test_a_start_that_harms_has_negative_points_and_is_not_left_out():
    found = transfer(table(k=-0.2))
    assert all(point.transferred < 0 for point in found.points)
    assert found.laws == ()
    assert found.left_out == (
        "law of w1 real: 0 of 15 runs gained anything; its law needs three, of several sizes and volumes: read more "
        "before, or less here",
    )


def test_a_loss_that_random_weights_did_not_reach_is_left_out_with_its_reason():
    found = transfer(table(fresh=FRESH[:10]))
    assert 0 < len(found.points) < len(SIZES) * len(READ)
    assert any("N 4e+05, D 2e+04" in one and "train them on other volumes too" in one for one in found.left_out)


def test_one_training_a_size_of_two_has_no_interval():
    runs = table()
    found = transfer(runs[runs["n_params"] < 2e5])
    assert found.laws == ()
    assert "train another size, or seed" in found.left_out[0]


def test_a_table_without_continued_runs_or_their_columns_is_refused():
    runs = table()
    with pytest.raises(RecordError, match="no column start_tokens"):
        transfer(runs.drop(columns="start_tokens"))
    with pytest.raises(RecordError, match="no continued run"):
        transfer(runs[runs["start_tokens"] == 0])
    with pytest.raises(RecordError, match="no run of random weights of this text"):
        transfer(runs[runs["start_tokens"] > 0])


def test_two_ways_to_go_on_from_one_start_are_told_apart_or_refused():
    full = table().assign(lr=8e-3)
    slow = full[full["start_tokens"] > 0].assign(lr=2e-3)
    both = pd.concat([full, slow])
    with pytest.raises(RecordError, match=r"w1 real, N 2e\+04, D 1e\+04: 2 runs of one seed, of lr 0.008, 0.002"):
        transfer(both)
    assert transfer(both, where="lr > 0.003").laws == transfer(full).laws
