"""Draws of a law from few runs: wide where nothing is known, around the truth where much is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import SpecError
from scaling.fit.belief import NOISE, TRUNK_NOISE, believe, run_covariance
from scaling.laws.named import named_law
from scaling.tables.observe import observe

TRUTH = named_law("chinchilla").with_values({"E": 1.4, "A": 9.0, "B": 300.0, "alpha": 0.35, "beta": 0.5})
SIZES, VOLUMES = (2e4, 6e4, 2e5, 6e5), (1e5, 3e5, 1e6, 3e6)


def observed(sizes=SIZES, volumes=VOLUMES, seed=0, law=TRUTH):
    rng = np.random.default_rng(seed)
    rows = [
        {"n": n, "d": d, "loss": float(law.loss(n=n, d=d)) * np.exp(0.003 * rng.standard_normal()), "trunk": str(n)}
        for n in sizes
        for d in volumes
    ]
    return observe(pd.DataFrame(rows), columns={"n": "n", "d": "d"}, loss="loss", clusters="trunk")


def spread(found, n, d) -> tuple[float, float]:
    logs = found.logs({"n": np.array([n]), "d": np.array([d])})[:, 0]
    return float(logs.mean()), float(logs.std())


def test_one_run_is_enough_to_believe_something_and_leaves_it_wide():
    found = believe(observed(SIZES[:1], VOLUMES[:1]), named_law("chinchilla"))
    assert spread(found, 2e4, 1e5)[1] < 0.02
    assert spread(found, 6e5, 3e6)[1] > 0.05


def test_two_sizes_that_hardly_differ_are_believed():
    """Students of a teacher that never learned what more weights would hold differ by less than their runs scatter."""
    flat = TRUTH.with_values({"E": 1.66, "A": 0.25, "B": 300.0, "alpha": 0.35, "beta": 0.5})
    found = believe(observed(SIZES[:2], law=flat), named_law("chinchilla"))
    at = {"n": np.array([SIZES[1], SIZES[3]]), "d": np.array([3e6, 3e6])}
    gain = -np.diff(found.logs(at))
    assert -np.diff(np.log(flat.loss(**at))) < 0.002
    assert (gain < 0.005).mean() > 0.25


@pytest.mark.parametrize("seed", range(4))
def test_many_runs_bring_the_draws_to_the_truth(seed):
    found = believe(observed(seed=seed), named_law("chinchilla"))
    for n, d in ((6e5, 3e6), (2e6, 3e6), (6e5, 1e7)):
        mean, deviation = spread(found, n, d)
        assert abs(mean - np.log(TRUTH.loss(n=n, d=d))) < 3 * deviation < 0.06


def test_more_runs_never_leave_a_forecast_much_wider():
    wide = [spread(believe(observed(SIZES[:k]), named_law("chinchilla")), 2e6, 3e6)[1] for k in (1, 2, 3, 4)]
    assert all(after < 1.1 * before for before, after in zip(wide, wide[1:], strict=False))


def test_runs_of_a_trunk_share_noise_and_far_volumes_count_for_less():
    found = run_covariance(np.array([1e6, 1e6, 2.5e5]), np.array([0, 1, 1]), volume=1e6)
    assert found[0, 0] == pytest.approx(NOISE**2 + TRUNK_NOISE**2)
    assert found[0, 1] == 0
    assert found[1, 2] == pytest.approx(TRUNK_NOISE**2)
    assert found[2, 2] > found[1, 1]


def test_a_law_without_two_terms_is_refused():
    with pytest.raises(SpecError, match="take chinchilla"):
        believe(observed(), named_law("kaplan-nd"))
