"""What a stack is made of: cuts, windows, priors, weights, widths; each on scores or runs made by hand."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

from scaling.fit.doubt.bootstrap import bootstrap
from scaling.fit.doubt.calibrate import calibration, cross_checked, expected_factor, honest, inflation
from scaling.fit.doubt.covariance import covariance
from scaling.fit.evidence import Calibration, Member
from scaling.fit.fitter import fit
from scaling.fit.identify import SAME_LEVEL, level_codes, levels
from scaling.fit.prediction import Points, expected
from scaling.fit.select import compare
from scaling.fit.solve.minimise import minimise
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.fit.stack.solve import fit_versions, forecast_scores
from scaling.fit.stack.validate import Score, Validation, inner_members, size_ordered_cuts, stack_weights
from scaling.fit.stack.versions import ALL, PLAIN, Version, better_trained, determined, distinct, level_prior
from scaling.laws.coupled import Skaling
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla
from scaling.tables.observations import Observations

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def runs(sizes=5, volumes=5, noise=0.003, seed=0, law=TRUTH, repeat=1):
    """A grid of runs; repeated ones are equal and share a trunk."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, volumes)))
    loss = law.loss(n=n, d=d) * np.exp(np.random.default_rng(seed).normal(0, noise, n.size))
    code = np.repeat(np.arange(n.size), repeat)
    n, d, loss = (np.repeat(values, repeat) for values in (n, d, loss))
    return Observations({"n": n, "d": d}, loss, None, code, np.zeros(n.size, int), ("real",), tuple(range(n.size)))


def table(data):
    return pd.DataFrame({"n_params": data.columns["n"], "n_tokens": data.columns["d"], "loss": data.loss})


def score(error, axis="n", doubt=0.0, noise=0.01):
    """Forecast errors of every member, float64[n_members, n_test]."""
    error = np.atleast_2d(error).astype(float)
    return Score(axis, error, np.full(error.shape, doubt), np.full(len(error), noise), np.ones(error.shape[1]))


def test_weights_fall_with_the_fourth_power_of_the_mean_squared_error():
    twice = math.sqrt(2)
    one, other = stack_weights([score([[0.01, -0.01], [twice * 0.01, twice * 0.01]])], 2)
    assert one / other == pytest.approx(2**4)


def test_every_cut_weighs_the_same_however_hard_it_is():
    easy, hard = score([[0.001], [0.002], [0.002]]), score([[0.4], [0.2], [0.4]])
    one, other, third = stack_weights([easy, hard], 3)
    assert one == pytest.approx((0.25 + 1) ** -4 / ((1 + 0.25) ** -4) * other)
    assert third < one


def test_without_validation_all_members_weigh_the_same():
    np.testing.assert_array_equal(stack_weights([], 4), np.full(4, 0.25))


def test_a_member_on_a_bound_is_left_out_unless_all_are():
    np.testing.assert_array_equal(inner_members(np.array([True, False, False])), [1, 2])
    np.testing.assert_array_equal(inner_members(np.array([True, True])), [0, 1])


def test_validation_fits_the_smaller_runs_and_forecasts_the_larger():
    data = runs(6, 6)
    cuts = size_ordered_cuts(data, most=6)
    values = {"n": data.columns["n"], "d": data.columns["d"], "c": data.columns["n"] * data.columns["d"]}
    assert {cut.axis for cut in cuts} == {"n", "d", "c"}
    for cut in cuts:
        assert values[cut.axis][cut.small].max() < values[cut.axis][cut.scored].min()


def test_the_better_trained_half_of_the_runs_held_out_is_scored():
    data = runs(6, 6)
    for cut in size_ordered_cuts(data, most=6):
        held_out = np.flatnonzero(~cut.small)
        left = np.setdiff1d(held_out, cut.scored)
        assert abs(len(left) - len(cut.scored)) <= 1
        assert data.loss[cut.scored].max() < data.loss[left].min()


def test_a_text_that_has_large_runs_alone_is_not_forecast_from_small_ones_that_never_saw_it():
    data = runs(6, 6)
    # Of the second text there is one cell, which only the largest cuts hold; half of the rest is scored as before.
    largest = np.argmax(data.columns["n"] * data.columns["d"])
    cuts = size_ordered_cuts(replace(data, teacher=np.arange(36) == largest, teachers=("real", "other")), most=6)
    assert cuts
    for cut in cuts:
        assert largest not in cut.scored
        assert len(cut.scored) > 0


@pytest.mark.parametrize("form", [Chinchilla(), Skaling()])
def test_a_large_table_is_searched_with_few_of_its_runs_and_fitted_to_all(form, monkeypatch):
    data, objective = runs(12, 12, noise=0.01), Objective("huber", 0.01)
    cuts = size_ordered_cuts(data, most=2)
    every = fit_versions(form, data, objective, versions=ALL, cuts=cuts, starts=8)
    monkeypatch.setattr("scaling.fit.stack.solve.SEEKERS", 30)
    few = fit_versions(form, data, objective, versions=ALL, cuts=cuts, starts=8)
    np.testing.assert_allclose(few.value, every.value, rtol=1e-5)
    np.testing.assert_allclose(few.u[:, 0], every.u[:, 0], atol=1e-3)


def test_a_window_keeps_the_lowest_losses_of_every_teacher():
    loss, teacher = np.array([1.0, 2.0, 3.0, 4.0, 11.0, 12.0]), np.array([0, 0, 0, 0, 1, 1])
    every = np.ones(6, bool)
    np.testing.assert_array_equal(better_trained(loss, teacher, every, 0.5), [1, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(better_trained(loss, teacher, teacher == 0, 0.5), [1, 1, 0, 0, 0, 0])


def test_a_window_that_leaves_too_few_runs_makes_no_version():
    assert {version.window for version in distinct(ALL, runs(4, 5), enough=10)} == {1.0, 0.75, 0.5}


def test_a_window_that_leaves_two_data_volumes_does_not_determine_an_exponent():
    data = runs(4, 3)
    data = data.select((data.columns["n"] > 1e8) | (data.columns["d"] > 1e9))  # small students read much
    half = better_trained(data.loss, data.teacher, np.ones(len(data), bool), 0.5)
    assert (levels(data.columns["d"]), levels(data.columns["d"][half])) == (3, 2)
    assert determined((PLAIN, Version(window=0.5)), data) == (PLAIN,)
    # Where all runs have no more, a window takes nothing away.
    every = runs(13, 8)
    two = every.select(every.columns["n"] > 4e8)
    assert levels(two.columns["n"]) == 2
    assert len(determined((PLAIN, Version(window=0.5)), two)) == 2


def test_the_prior_costs_nothing_at_published_exponents_and_half_a_unit_one_spread_away():
    prior = level_prior(Skaling())
    at = {"E": 9.0, "A": 9.0, "R": -9.0, "alpha": 0.35, "beta": 0.35, "k": 0.0}
    for change, cost in (({}, 0), ({"alpha": 0.47}, 0.5), ({"beta": 0.23}, 0.5), ({"k": 0.6}, 2)):
        assert prior.pull(np.array(list((at | change).values())))[0] == pytest.approx(cost)


def test_a_version_with_the_prior_has_its_exponents_drawn_to_the_published_ones():
    steep = Chinchilla(E=1.7, A=4e4, B=4e6, alpha=0.7, beta=0.75)
    versions = [PLAIN, Version("level", 1.0)]
    batch = fit_versions(Chinchilla(), runs(4, 4, noise=0.01, law=steep), Objective(delta=0.01), versions=versions)
    plain, drawn = (batch.fit_of(i)[1].theta[3:] for i in (0, 1))
    assert (np.abs(drawn - 0.35) < np.abs(plain - 0.35)).all()


def test_a_windowed_version_is_the_fit_of_those_runs_alone():
    data, objective = runs(6, 6), Objective(delta=0.01)
    batch = fit_versions(Chinchilla(), data, objective, versions=[PLAIN, Version("none", 0.5)])
    part = data.select(data.loss <= np.quantile(data.loss, 0.5))
    alone = search(make_problem(Chinchilla(), part, objective))
    assert batch.fit_of(1)[1].value == pytest.approx(alone.value, rel=1e-5)


@pytest.mark.parametrize("own", [True, False])
def test_a_version_has_converged_if_its_own_search_has_whatever_became_of_the_plain_one(own):
    batch = fit_versions(Chinchilla(), runs(6, 6), Objective(delta=0.01), versions=[PLAIN, Version("none", 0.5)])
    plain = replace(batch.whole, converged=not own)
    assert replace(batch, whole=plain, converged=np.full_like(batch.converged, own)).fit_of(1)[1].converged == own


def test_the_error_of_a_cut_is_that_of_a_fit_which_never_saw_its_larger_runs():
    data, objective = runs(6, 6), Objective(delta=0.01)
    cuts = size_ordered_cuts(data, most=6)
    batch = fit_versions(Chinchilla(), data, objective, versions=[PLAIN], cuts=cuts)
    for found, cut in zip(forecast_scores([batch], data, cuts), cuts, strict=True):
        alone = search(make_problem(Chinchilla(), data.select(cut.small), objective))
        larger = data.select(np.isin(np.arange(len(data)), cut.scored))
        expected = np.log(Chinchilla().evaluate(alone.theta, larger.inputs(("n", "d"))) / larger.loss)
        np.testing.assert_allclose(found.error[0], expected, atol=1e-5)


def test_the_fits_of_the_cuts_do_not_stop_on_the_way_from_the_fit_of_all_runs():
    data = runs(7, 6, noise=0.006, seed=5)
    cuts, versions = size_ordered_cuts(data, most=6), [PLAIN, Version("none", 0.5)]
    batch = fit_versions(Skaling(), data, Objective(delta=0.01), versions=versions, cuts=cuts, starts=8)
    ends, weights = batch.u.reshape(-1, batch.u.shape[-1]), batch.weights.reshape(-1, len(data))
    further = minimise(batch.problem, ends, weights=weights, steps=2000).value
    np.testing.assert_allclose(batch.value.ravel(), further, rtol=0.02)


def test_a_cut_is_judged_by_weights_that_the_other_cuts_gave():
    # Each member is right about one cut only: trusted for it, each is wrong about the other.
    cuts = [score([[0.0, 0.0], [0.1, 0.1]]), score([[0.1, 0.1], [0.0, 0.0]])]
    for errors in honest(Validation(tuple(cuts))):
        np.testing.assert_allclose(errors, 0.1 / 0.01, rtol=1e-3)
    for errors in honest(Validation(tuple(cuts), sharpness=0)):  # the plain mean is off by half, and says so
        np.testing.assert_allclose(errors, 0.05 / math.hypot(0.05, 0.01))


def test_a_cross_check_calibrates_each_cut_on_the_others_alone():
    calm, wild = score([[0.005] * 8]), score([[0.2] * 8])
    assert cross_checked(Validation((calm, wild)))["coverage"] == 0.5
    assert cross_checked(Validation((calm, calm)))["coverage"] == 1.0
    assert cross_checked(Validation((calm, wild)))["mare"] == pytest.approx((np.expm1(0.005) + np.expm1(0.2)) / 2)


def test_errors_three_times_the_scale_widen_and_errors_a_tenth_of_it_narrow():
    rng = np.random.default_rng(0)
    wide = [3 * rng.standard_t(4, 200) for _ in range(30)]
    assert expected_factor(wide) == pytest.approx(3, rel=0.15)
    assert expected_factor([np.zeros(5)] * 3) < 1 < expected_factor([np.full(5, 9.0)])
    assert inflation([], []) == {}


def test_the_fewer_cuts_the_more_the_doubt_of_the_factor_widens():
    of_t = stdtrit(4, np.linspace(0.002, 0.998, 250))
    factors = [expected_factor([of_t] * count) for count in (400, 40, 2, 0)]
    assert factors[0] == pytest.approx(1.0, abs=0.01)
    assert factors == sorted(factors)
    assert expected_factor([]) == pytest.approx(math.exp(0.5**2), rel=0.01), "mean square of the log-normal prior"


def test_every_way_of_going_beyond_the_runs_has_a_factor_of_its_own():
    factors = inflation([np.full(4, 0.1), np.full(4, 9.0), np.full(4, 1.0)], ["n", "d", "c"])
    assert factors["n"] < factors["c"] < factors["d"]
    found = calibration(Validation((score([[0.0]], "n"), score([[0.3]], "d"))), 0.01, 20)
    assert found.factors["n"] < found.factors["c"] < found.factors["d"], "without a cut by c both are pooled for it"


def test_the_scale_of_a_forecast_is_multiplied_by_the_factor_of_its_direction():
    member = Member(TRUTH, 1.0, 0.0, 1, 1, np.empty((0, 5)))
    ranges = {"n": (1e6, 1e9), "d": (1e8, 1e11)}
    calibrated = Calibration((0.05, 0.95), (-1.0, 1.0), 0.01, factors={"n": 2.0, "d": 3.0, "c": 5.0})
    between = math.sqrt(2 * 5)  # a thousandfold in n, of which a tenfold goes along with d
    for n, d, factor in ((1e10, 1e11, 2), (1e9, 1e13, 3), (1e10, 1e12, 5), (1e8, 1e9, 5), (1e12, 1e12, between)):
        at = Points({"n": np.array([n]), "d": np.array([d])}, ())
        assert expected([member], calibrated, ranges, at).scale[0] == pytest.approx(0.01 * factor)


def test_disagreement_doubt_and_noise_add_up_in_quadrature():
    covariance_of = np.zeros((5, 5))
    covariance_of[0, 0] = 0.02**2
    lower = TRUTH.with_values(TRUTH.values | {"E": 1.6})
    members = [Member(law, 0.5, 0.0, 1, 1, np.empty((0, 5)), covariance=covariance_of) for law in (TRUTH, lower)]
    at = Points({"n": np.array([1e9]), "d": np.array([1e11])}, ())
    high, low = (float(law.loss(n=1e9, d=1e11)) for law in (TRUTH, lower))
    apart = (math.log(high) - math.log(low)) / 2
    doubt = (0.02**2 / high**2 + 0.02**2 / low**2) / 2
    found = expected(members, Calibration((0.1, 0.9), (-1, 1), 0.01), {}, at)
    assert found.centre[0] == pytest.approx((math.log(high) + math.log(low)) / 2)
    assert found.scale[0] == pytest.approx(math.sqrt(apart**2 + doubt + 0.01**2))


def test_equal_runs_of_one_trunk_say_no_more_than_one_of_them():
    found = {}
    for repeat in (1, 4):
        data = runs(repeat=repeat)
        problem = make_problem(Chinchilla(), data, Objective(delta=0.01))
        best = search(problem)
        samples = bootstrap(problem, best, data.cluster, count=40, seed=1)
        spread, _ = covariance(problem, best.u[None], weights=problem.weights[None], cluster=data.cluster)
        found[repeat] = samples, np.sqrt(np.diag(spread[0]))
    np.testing.assert_allclose(found[4][0], found[1][0], rtol=1e-2)
    np.testing.assert_allclose(found[4][1], found[1][1], rtol=0.25)


def test_four_trunks_give_forecasts_but_no_interval_of_a_coefficient():
    grid = table(runs(4, 6, noise=0.003)).assign(trunk_id=lambda t: t.n_params)
    few, alone = fit(grid, law="chinchilla", bootstrap=50), fit(grid, law="chinchilla", bootstrap=50, clusters=None)
    assert all(math.isnan(low) for low, _ in few.interval().values())
    assert "4 trunks are too few to resample" in " ".join(few.status.notes)
    assert few.leading.doubt(few.leading.slope(_x())) > alone.leading.doubt(alone.leading.slope(_x()))
    assert not any(math.isnan(low) for low, _ in alone.interval().values())


def _x():
    return TRUTH.prepare({"n": np.array([1e8]), "d": np.array([1e10])})


def test_the_doubt_of_a_forecast_is_the_scatter_of_forecasts_of_new_sweeps():
    logs, doubts = [], []
    for seed in range(40):
        data = runs(seed=seed, noise=0.005)
        batch = fit_versions(Chinchilla(), data, Objective("squared"), versions=[PLAIN], starts=4)
        log, doubt = batch.forecast(0, TRUTH.prepare({"n": np.array([1e10]), "d": np.array([1e12])}))
        logs.append(log[0, 0])
        doubts.append(doubt[0, 0])
    assert np.median(doubts) == pytest.approx(np.std(logs), rel=0.3)


def test_levels_of_an_axis_do_not_chain():
    assert levels(np.geomspace(1e6, 1e9, 2000)) > 300
    assert levels(np.array([1e6, 1.01e6, 1e7, 1.015e7, 1e8])) == 3
    assert levels(np.array([])) == 0


def test_each_level_of_an_axis_spans_two_per_cent_at_most_and_the_next_begins_beyond_it():
    rng = np.random.default_rng(0)
    for count in (1, 2, 50, 400):
        values = rng.permutation(np.exp(rng.uniform(10, 12, count)))
        codes = level_codes(values)
        assert codes.max() + 1 == levels(values)
        least = np.array([values[codes == code].min() for code in range(levels(values))])
        most = np.array([values[codes == code].max() for code in range(levels(values))])
        assert np.all(np.log(most / least) <= SAME_LEVEL)
        assert np.all(np.log(least[1:] / least[:-1]) > SAME_LEVEL)


def test_aicc_counts_the_scatter_as_a_coefficient():
    data = runs(4, 5)
    (found,) = compare(data, [named_law("chinchilla")])
    n, k = 20, 5 + 1
    assert found.k == k
    assert found.aicc == pytest.approx(2 * n * math.log(found.rms) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def test_delta_decides_how_much_an_outlier_may_say():
    off = table(runs())
    off.loc[12, "loss"] *= 1.2
    errors = [abs(fit(off, law="chinchilla", bootstrap=0, delta=delta).params["E"] - 1.7) for delta in (1e-3, 1.0)]
    assert errors[0] < 0.03 < errors[1]
