"""Two arms compared in pairs: what the settings do drops out, clusters count once, chances are those of Student."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scaling.errors import FitError, RecordError, SpecError
from scaling.fit.compare import compare


def arms(effect=-0.01, noise=0.002, cluster=0.0, sizes=5, volumes=4, seed=0, seeds=1):
    """Two arms over a grid whose own losses differ by a factor of two."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in np.geomspace(1e6, 1e9, sizes):
        shared = rng.normal(0, cluster)
        for d in np.geomspace(1e8, 1e11, volumes):
            for arm in ("old", "new"):
                log = math.log(1.7 + 400 * n**-0.34 + 1200 * d**-0.36) + (effect + shared if arm == "new" else 0.0)
                rows += [
                    {
                        "teacher": arm,
                        "n_params": n,
                        "n_tokens": d,
                        "seed": s,
                        "loss": math.exp(log + rng.normal(0, noise)),
                    }
                    for s in range(seeds)
                ]
    return pd.DataFrame(rows)


def test_the_difference_and_its_chances_equal_those_of_a_paired_t_test():
    runs = arms()
    found = compare(runs, ("old", "new"))
    wide = runs.pivot(index=["n_params", "n_tokens"], columns="teacher", values="loss").map(math.log)
    delta = (wide["new"] - wide["old"]).to_numpy()
    reference = stats.ttest_1samp(delta, 0, alternative="less")
    interval = stats.ttest_1samp(delta, 0).confidence_interval(0.9)
    assert found.difference == pytest.approx(delta.mean())
    assert found.chance == pytest.approx(1 - reference.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.n_pairs == found.n_clusters == 20


def test_the_arms_change_places_with_the_sign():
    one, other = compare(arms(), ("old", "new")), compare(arms(), ("new", "old"))
    assert other.difference == pytest.approx(-one.difference)
    assert other.chance == pytest.approx(1 - one.chance)


def test_seeds_of_a_setting_are_averaged():
    runs = arms(seeds=3)
    found = compare(runs, ("old", "new"))
    assert found.n_pairs == 20
    assert found.difference == pytest.approx(-0.01, abs=0.002)


@pytest.mark.slow
def test_intervals_cover_when_pairs_of_one_size_share_their_noise():
    inside = [compare(arms(cluster=0.01, seed=seed).assign(trunk_id="t"), ("old", "new")) for seed in range(80)]
    assert 0.8 < np.mean([one.low < -0.01 < one.high for one in inside]) < 0.98
    assert {one.n_clusters for one in inside} == {5}
    naive = [compare(arms(cluster=0.01, seed=seed), ("old", "new")) for seed in range(80)]
    assert np.mean([one.low < -0.01 < one.high for one in naive]) < 0.75


def test_the_chance_of_one_new_setting_is_the_share_of_new_settings_that_are_better():
    found = compare(arms(effect=-0.004, noise=0.004, volumes=20), ("old", "new"))
    scatter = 0.004 * math.sqrt(2)
    assert found.chance_of_one == pytest.approx(stats.norm.cdf(0.004 / scatter), abs=0.06)
    assert found.chance > 0.99


def test_runs_without_a_partner_and_unfinished_ones_are_left_out_and_named():
    runs = arms().assign(status="done")
    lone = runs.index[(runs.teacher == "old")][3]
    runs.loc[runs.index[(runs.teacher == "new")][3], "status"] = "crashed"
    found = compare(runs, ("old", "new"))
    assert found.unpaired == (lone,)
    assert found.n_pairs == 19


@pytest.mark.parametrize(
    ("change", "options", "error", "what"),
    [
        (lambda runs: runs, {"arms": ("old", "newer")}, RecordError, "teacher = 'newer'; there are 'old', 'new'"),
        (lambda runs: runs, {"arms": ("old", "old")}, SpecError, "arms: got 'old' twice, .* of teacher: 'old', 'new'"),
        (lambda runs: runs, {"level": 1.5}, SpecError, "level: got 1.5, allowed is"),
        (lambda runs: runs, {"pair": ["n_param"]}, RecordError, "did you mean 'n_params'"),
        (lambda runs: runs.assign(loss=-1.0), {}, RecordError, "above zero"),
        (lambda runs: runs[runs.n_params > 9e8].iloc[:2], {}, FitError, "a comparison needs 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, options, error, what):
    with pytest.raises(error, match=what):
        compare(change(arms()), **({"arms": ("old", "new")} | options))


def test_an_arm_is_called_by_the_beginning_of_its_label_where_no_other_begins_so():
    runs = arms().replace({"teacher": {"old": "trained 878802d57c", "new": "noise 0.2"}})
    assert compare(runs, ("trained", "noise")) == compare(runs, ("trained 878802d57c", "noise 0.2"))
    runs.loc[0, "teacher"] = "noise 0.3"
    with pytest.raises(RecordError, match=r"no finished run has teacher = 'noise'; there are .*'noise 0.2'"):
        compare(runs, ("trained", "noise"))
