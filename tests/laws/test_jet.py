"""Derivatives of laws, against complex steps and difference quotients of the same formula."""

import numpy as np
import pytest

from scaling.fit.solve.starts import draw_starts
from scaling.laws.jet import Jet
from scaling.laws.size_and_data import BASE_LAWS
from scaling.laws.teacher import QUALITY_LAWS

ALL = {**BASE_LAWS, **QUALITY_LAWS}
COLUMNS = {
    "n": [1e4, 2e4, 4e4, 1e5, 3e5, 1e6],
    "d": [3e6, 1e5, 1e6, 5e5, 2e6, 1e5],
    "c": [1e15, 1e16, 3e16, 1e17, 1e18, 2e18],
    "x": [1.0, 3.0, 10.0, 30.0, 100.0, 300.0],
    "delta_coverage": [0.0, 0.0, 0.1, 0.2, 0.0, 0.05],
    "delta_noise": [0.0, 0.3, 0.0, 0.0, 0.1, 0.05],
    "generator_delta_coverage": [0.0, 0.0, 0.3, 0.4, 0.0, 0.3],
    "generator_delta_noise": [0.0, 0.6, 0.0, 0.0, 0.3, 0.2],
    "teacher": [0.0, 1.0, 1.0, 2.0, 2.0, 0.0],
    "teacher_loss": [0.0, 2.0, 2.1, 2.2, 2.3, 0.0],
    "real_share": [0.0, 0.3, 0.5, 0.9, 1.0, 0.2],
}
LOSS = np.array([3.0, 3.4, 2.9, 2.8, 2.6, 2.7])


def some_coefficients(law):
    """Three interior coefficient vectors of a law, with its columns."""
    x = law.prepare({name: COLUMNS[name] for name in law.columns})
    theta = draw_starts(law, x, LOSS, np.ones(6), 3, np.random.default_rng(1))
    low = np.array([c.low for c in law.coefficients])
    return np.maximum(theta, low + 1e-2), x


@pytest.mark.parametrize("name", ALL)
def test_first_derivatives_equal_difference_quotients(name):
    law = ALL[name]()
    theta, x = some_coefficients(law)
    gradient = law.gradient(theta, x)
    for i in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[:, i] = 1e-6 * theta[:, i]
        quotient = (law.evaluate(theta + step, x) - law.evaluate(theta - step, x)) / (2 * step[:, i, None])
        rounding = 1e-14 / step[:, i].min()  # what the difference of two losses near 3 cannot resolve
        np.testing.assert_allclose(gradient[..., i], quotient, rtol=2e-5, atol=1e-7 * np.abs(quotient).max() + rounding)


@pytest.mark.parametrize("name", ["chinchilla", "skaling", "bounded", "kaplan-nd", "q4", "q7"])
def test_second_derivatives_equal_difference_quotients_of_the_first(name):
    law = ALL[name]()
    theta, x = some_coefficients(law)
    second = law.jet(theta, x).second
    for i in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[:, i] = 1e-6 * theta[:, i]
        quotient = (law.gradient(theta + step, x) - law.gradient(theta - step, x)) / (2 * step[:, i, None, None])
        for j in range(i, theta.shape[1]):
            expected = quotient[..., j]
            found = np.broadcast_to(second.get((i, j), 0.0), expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max() + 1e-300)


def test_a_jet_of_a_sum_of_logs_is_exact_where_naive_evaluation_overflows():
    a, b = Jet.variable(np.array([800.0]), 0), Jet.variable(np.array([1.0]), 1)
    total = np.logaddexp(a, b)
    assert total.value[0] == 800.0
    assert total.first[0][0] == 1.0
    assert total.first[1][0] == 0.0


def test_an_operation_without_a_rule_is_refused_rather_than_silently_dropped():
    with pytest.raises(TypeError):
        np.arctan(Jet.variable(np.array([1.0]), 0))


@pytest.mark.parametrize("other", [2.0, np.array([0.5, 2.0, np.inf])])
@pytest.mark.parametrize(("pick", "keeps"), [(np.minimum, np.less), (np.maximum, np.greater)])
def test_the_smaller_or_larger_of_a_jet_and_a_constant_has_the_slope_of_what_was_picked(pick, keeps, other):
    value = np.array([1.0, 1.5, 3.0])
    square = np.square(Jet.variable(value, 0))
    for chosen in (pick(square, other), pick(other, square)):
        kept = keeps(value**2, other)
        np.testing.assert_array_equal(chosen.value, pick(value**2, other))
        np.testing.assert_array_equal(chosen.first[0], np.where(kept, 2 * value, 0.0))
        np.testing.assert_array_equal(chosen.second[0, 0] * np.ones(3), np.where(kept, 2.0, 0.0))
