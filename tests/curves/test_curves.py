"""One-dimensional curves: exact derivatives, exact recovery, and a forecast that does not lose to "it stays where it
is".
"""

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.curves.fitter import _blend, fit_curve
from scaling.curves.forms import M1, M2, M3, OneBreak, TwoBreaks
from scaling.curves.law import CURVES
from scaling.curves.sigmoid import M4
from scaling.errors import FitError, RecordError, SpecError

X = np.geomspace(1e6, 1e9, 60)
EXAMPLES = {
    "m1": M1(A=9.0, alpha=0.1),
    "m2": M2(E=1.5, B=300.0, c0=0.4),
    "m3": M3(A=40.0, gamma=3e-9, alpha=0.2),
    "m4": M4(E=0.2, L0=1.01, a=0.8, B=3e8, c=1.1),
    "bnsl1": OneBreak(E=0.3, B=5.0, c0=0.05, c1=0.6, d1=3e7, f1=0.3),
    "bnsl2": TwoBreaks(E=0.1, B=5.0, c0=0.1, c1=-0.2, c2=0.8, d1=5e6, d2=8e7, f1=0.2, f2=0.4),
}


@pytest.mark.parametrize("law", EXAMPLES.values(), ids=EXAMPLES)
def test_derivatives_agree_with_a_finer_difference_than_any_fit_needs(law):
    columns, theta = law.prepare({"x": X}), law.vector
    gradient = law.gradient(theta, columns)
    for i in range(len(theta)):
        step = 1e-5 * abs(theta[i])
        up, down = theta.copy(), theta.copy()
        up[i] += step
        down[i] -= step
        difference = (law.evaluate(up, columns) - law.evaluate(down, columns)) / (2 * step)
        np.testing.assert_allclose(gradient[:, i], difference, rtol=2e-5, atol=1e-8 * np.abs(difference).max())


def test_the_broken_power_law_is_the_published_formula():
    law = EXAMPLES["bnsl2"]
    product = np.ones_like(X)
    for c, d, f in ((law.c1, law.d1, law.f1), (law.c2, law.d2, law.f2)):
        product *= (1 + (X / d) ** (1 / f)) ** (-c * f)
    np.testing.assert_allclose(law.loss(x=X), law.E + law.B * X**-law.c0 * product, rtol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_formula_of_a_curve_gives_its_loss(name):
    law = EXAMPLES[name]
    values = SimpleNamespace(**law.values)
    np.testing.assert_allclose(law.formula(values, SimpleNamespace(x=X)), law.loss(x=X), rtol=1e-12)


def test_m4_solves_its_implicit_equation():
    law = EXAMPLES["m4"]
    loss = law.loss(x=X)
    np.testing.assert_allclose((loss - law.E) / (law.L0 - loss) ** law.a, law.B * X**-law.c, rtol=1e-7)


@pytest.mark.parametrize("name", ["m1", "m2", "m3", "m4", "bnsl1"])
def test_a_noiseless_curve_is_recovered_and_continued(name):
    law = EXAMPLES[name]
    fit = fit_curve(X, law.loss(x=X), form=name)
    further = np.array([3e9, 1e10])
    np.testing.assert_allclose(fit.loss(further), law.loss(x=further), rtol=1e-4)
    assert fit.parts[0].residual < 1e-5


def test_the_automatic_form_finds_the_law_that_made_the_curve():
    law = EXAMPLES["bnsl1"]
    fit = fit_curve(X, law.loss(x=X))
    np.testing.assert_allclose(fit.loss(2e9), law.loss(x=2e9), rtol=5e-3)
    assert fit.validation_error < 0.1 * fit.last_value_error


def test_the_unit_of_x_does_not_matter():
    loss = EXAMPLES["m4"].loss(x=X) * np.exp(0.01 * np.random.default_rng(0).normal(size=len(X)))
    np.testing.assert_allclose(fit_curve(X, loss).loss(3e9), fit_curve(X / 1e6, loss).loss(3e3), rtol=1e-5)


def test_a_curve_of_pure_noise_stays_near_its_level():
    errors, last = [], []
    for seed in range(5):
        loss = 2.0 * np.exp(0.02 * np.random.default_rng(seed).normal(size=30))
        fit = fit_curve(np.geomspace(1e6, 1e8, 30), loss)
        errors.append(abs(np.log(fit.loss(2e8) / 2.0)))
        last.append(abs(np.log(loss[-1] / 2.0)))
    assert np.mean(errors) <= np.mean(last)


def test_a_break_is_never_placed_on_the_last_point():
    loss = EXAMPLES["m2"].loss(x=X[:20])
    loss[-1] *= 0.97
    assert fit_curve(X[:20], loss, form="bnsl1").law.d1 <= X[16] * 1.001


def test_a_short_curve_still_gets_a_forecast():
    fit = fit_curve([1e6, 2e6, 4e6, 8e6], [2.0, 1.8, 1.62, 1.458])
    assert 1.2 < fit.loss(1.6e7) < 1.458


def test_order_does_not_matter():
    loss = EXAMPLES["m2"].loss(x=X)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_allclose(
        fit_curve(X, loss, form="m2").loss(5e9), fit_curve(X[order], loss[order], form="m2").loss(5e9)
    )


def test_bad_rows_are_named():
    with pytest.raises(RecordError, match="row 1: x=2, loss=nan"):
        fit_curve([1.0, 2.0, 3.0, 4.0], [1.0, np.nan, 1.0, 1.0])
    with pytest.raises(RecordError, match="numbers"):
        fit_curve(["a", "b", "c"], [1, 2, 3])
    with pytest.raises(RecordError, match="one length"):
        fit_curve([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(FitError, match="at least 4 different x: got 3"):
        fit_curve([1.0, 1.0, 2.0, 4.0], [1.0, 1.1, 0.9, 0.8])
    with pytest.raises(FitError, match="bnsl2 needs at least 10 different x: got 6"):
        fit_curve(X[:6], X[:6] ** -0.1, form="bnsl2")


@pytest.mark.parametrize("form", [*CURVES, "auto"])
def test_a_curve_of_few_points_is_refused_or_answered_near_its_points(form):
    fewest = 4 if form == "auto" else max(4, len(CURVES[form]().coefficients) + 1)
    for count in range(1, fewest + 2):
        x = np.geomspace(1e6, 1e8, count)
        loss = EXAMPLES["m2"].loss(x=x)
        if count < fewest:
            with pytest.raises(FitError, match=f"needs at least .* different x: got {count}; add points"):
                fit_curve(x, loss, form=form)
        else:
            np.testing.assert_allclose(fit_curve(x, loss, form=form).loss(x[-1]), loss[-1], rtol=0.05)


def test_a_blend_of_nothing_is_no_curve():
    with pytest.raises(FitError, match="m4: got 5 points, too few for it"):
        _blend("m4", {}, np.arange(5.0), np.zeros(5), ())


def test_an_unknown_form_says_which_exist():
    with pytest.raises(SpecError, match="did you mean 'bnsl1'"):
        fit_curve(X, X**-0.1, form="bnsl11")


def test_prediction_refuses_x_below_zero():
    with pytest.raises(RecordError, match="x > 0"):
        fit_curve(X, X**-0.1, form="m1").predict([-1.0])


def test_the_summary_prints_formula_weight_and_error_beside_the_last_value():
    text = repr(fit_curve(X, EXAMPLES["m2"].loss(x=X)))
    for piece in ("/x^0.4", "weight  error/last value's  form", "last value: L ="):
        assert piece in text
