"""What a continued curve is worth: intervals, how far it is continued, and points that do not belong to it."""

import numpy as np
import pytest

from scaling.curves.fitter import fit_curve
from scaling.curves.forms import M2, OneBreak
from scaling.curves.outliers import far_points
from scaling.errors import ExtrapolationError, SpecError

X = np.geomspace(1e6, 1e8, 24)
TRUTH = M2(E=1.5, B=300.0, c0=0.4)
NOISE = 0.005


def noisy(seed, x=X, law=TRUTH):
    return law.loss(x=x) * np.exp(NOISE * np.random.default_rng(seed).normal(size=len(x)))


@pytest.mark.slow
def test_nine_of_ten_measurements_lie_inside_nine_tenths_intervals():
    further = np.geomspace(1.1e8, 4e8, 5)
    inside, width = [], []
    for seed in range(8):
        found = fit_curve(X, noisy(seed)).predict(further, level=0.9)
        measured = noisy(100 + seed, further)
        inside.append((measured >= found.low) & (measured <= found.high))
        width.append((found.high - found.low) / found.value)
    assert np.mean(inside) >= 0.75
    assert np.mean(width) < 0.2, "an interval that is always right because it is wide says nothing"


def test_doubt_grows_with_the_distance_from_the_curve_and_with_the_level():
    fit = fit_curve(X, noisy(0))
    near, far = fit.predict([1.5e8, 8e8]).high / fit.predict([1.5e8, 8e8]).low
    assert far > near > 1
    assert fit.predict(2e8, level=0.99).high > fit.predict(2e8, level=0.5).high
    assert fit.predict(2e8).low < fit.loss(2e8) < fit.predict(2e8).high
    assert fit.predict(2e8).reach == pytest.approx(2.0)
    with pytest.raises(SpecError, match="got 90"):
        fit.predict(2e8, level=90)


def test_a_forecast_far_beyond_the_curve_is_refused_unless_forced():
    fit = fit_curve(X, noisy(0))
    with pytest.raises(ExtrapolationError, match="20 times beyond the points"):
        fit.predict(2e9)
    assert fit.predict(2e9, force=True).value > 1.3
    short = fit_curve(X[-6:], noisy(0)[-6:])
    with pytest.raises(ExtrapolationError, match="is continued by at most 2.7"):
        short.predict(4e8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "factor"), [(-1, 3.0), (-1, 0.3), (10, 10.0), (10, 0.1), (0, 5.0), (-2, 3.0)], ids=lambda value: str(value)
)
def test_one_bad_point_is_left_out_and_named(at, factor):
    loss = noisy(1)
    clean = fit_curve(X, loss).loss(2e8)
    row = range(len(X))[at]
    loss[row] *= factor
    fit = fit_curve(X, loss)
    assert [point.row for point in fit.outliers] == [row]
    assert fit.outliers[0].loss / fit.outliers[0].expected == pytest.approx(factor, rel=0.15)
    assert fit.loss(2e8) == pytest.approx(clean, rel=0.02)
    assert f"left out row {row}: x=" in fit.summary()


def test_bad_points_are_named_by_the_rows_of_the_table_that_was_given():
    order = np.random.default_rng(0).permutation(len(X))
    loss = noisy(2)
    loss[[5, 17]] *= 4.0
    fit = fit_curve(X[order], loss[order])
    assert {float(X[order][point.row]) for point in fit.outliers} == {float(X[5]), float(X[17])}
    assert not fit_curve(X, loss, outliers=False).outliers


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_curve_that_only_bends_is_left_out(seed):
    sharp = OneBreak(E=0.3, B=5.0, c0=0.02, c1=0.9, d1=2e7, f1=0.06)
    flat_then_falling = np.minimum(1.0, (X / 3e6) ** -0.6)
    for curve in (sharp.loss(x=X), flat_then_falling, np.full(len(X), 2.0)):
        assert not far_points(np.log(X), np.log(curve * np.exp(0.01 * np.random.default_rng(seed).normal(size=len(X)))))


def test_four_points_are_forecast_with_much_doubt():
    found = fit_curve([1e6, 2e6, 4e6, 8e6], [2.0, 1.8, 1.62, 1.458]).predict(1.6e7)
    assert found.low < 1.2 < found.value < 1.458 < found.high


def test_a_form_that_cannot_be_tested_is_doubted_by_the_trend_of_the_curves_end():
    fit = fit_curve(X[::4], TRUTH.loss(x=X[::4]), form="m4")
    found = fit.predict(2 * X[20])
    assert fit.validation_error is None
    assert fit.trend == pytest.approx(0.04, abs=0.02)
    assert (found.high / found.low) == pytest.approx(np.exp(2 * 2.132 * fit.trend), rel=0.05)
    assert "too short to judge" in fit.summary()


def test_a_log_of_every_step_is_fitted_as_fast_as_its_trend_and_keeps_its_scatter():
    x = np.arange(100.0, 20_100.0)
    rng = np.random.default_rng(0)
    loss = M2(E=1.5, B=30.0, c0=0.4).loss(x=x) * np.exp(0.02 * rng.normal(size=len(x)))
    loss[rng.integers(0, len(x), 40)] *= 5.0
    fit = fit_curve(x, loss)
    found = fit.predict(4e4)
    assert fit.n_points == 20_000
    assert fit.noise == pytest.approx(0.02, rel=0.1)
    assert found.value == pytest.approx(1.5 + 30.0 * 4e4**-0.4, rel=0.01)
    assert found.high / found.low > np.exp(2 * 2.13 * 0.019)
