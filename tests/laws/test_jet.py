"""Derivatives of laws, against complex steps and difference quotients of the same formula."""

import numpy as np
import pytest

from scaling.laws.jet import Jet
from scaling.laws.law import LAWS
from scaling.laws.named import named_law


@pytest.mark.parametrize("name", LAWS)
def test_first_derivatives_equal_difference_quotients(name, columns_of, coefficients_of):
    law = named_law(name)
    theta, x = coefficients_of(law, 3), columns_of(law)
    for row in theta if law.columns == ("run",) else [theta]:
        gradient = law.gradient(row, x)
        for i in range(row.shape[-1]):
            step = np.zeros_like(row)
            step[..., i] = 1e-6 * row[..., i]
            by = 2 * step[..., i, None]
            quotient = (law.evaluate(row + step, x) - law.evaluate(row - step, x)) / by
            scale = np.abs(law.evaluate(row, x)).max()
            rounding = 1e-14 * scale / np.abs(by).min()  # what the difference of two losses cannot resolve
            close = {"rtol": 2e-5, "atol": 1e-7 * np.abs(quotient).max() + rounding}
            np.testing.assert_allclose(gradient[..., i], quotient, **close)


@pytest.mark.parametrize("name", ["chinchilla", "skaling", "bounded", "kaplan-nd", "q4", "q7", "repeated", "qb"])
def test_second_derivatives_equal_difference_quotients_of_the_first(name, columns_of, coefficients_of):
    law = named_law(name)
    theta, x = coefficients_of(law, 3), columns_of(law)
    jet = law.jet(theta, x)
    one = np.eye(jet.value.shape[-1])[:, None] * np.ones_like(jet.value)  # the weight of one run after the other
    second = np.stack([jet.curvature(weights, theta.shape[1]) for weights in one], axis=1)
    for i in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[:, i] = 1e-6 * theta[:, i]
        quotient = (law.gradient(theta + step, x) - law.gradient(theta - step, x)) / (2 * step[:, i, None, None])
        for j in range(i, theta.shape[1]):
            expected = quotient[..., j]
            np.testing.assert_allclose(
                second[..., i, j], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max() + 1e-300
            )


def test_a_jet_of_a_sum_of_logs_is_exact_where_naive_evaluation_overflows():
    a, b = Jet.variable(np.array([800.0]), 0), Jet.variable(np.array([1.0]), 1)
    total = np.logaddexp(a, b)
    assert total.value[0] == 800.0
    assert total.first[0][0] == 1.0
    assert total.first[1][0] == 0.0


def test_an_operation_without_a_rule_is_refused_rather_than_silently_dropped():
    with pytest.raises(TypeError):
        np.arctan(Jet.variable(np.array([1.0]), 0))
    with pytest.raises(TypeError):  # its second derivatives would be those of another axis
        np.matmul(Jet.variable(np.array([1.0]), 0), np.ones(1))


@pytest.mark.parametrize("other", [2.0, np.array([0.5, 2.0, np.inf])])
@pytest.mark.parametrize(("pick", "keeps"), [(np.minimum, np.less), (np.maximum, np.greater)])
def test_the_smaller_or_larger_of_a_jet_and_a_constant_has_the_slope_of_what_was_picked(pick, keeps, other):
    value = np.array([1.0, 1.5, 3.0])
    square = np.square(Jet.variable(value, 0))
    for chosen in (pick(square, other), pick(other, square)):
        kept = keeps(value**2, other)
        np.testing.assert_array_equal(chosen.value, pick(value**2, other))
        np.testing.assert_array_equal(chosen.first[0], np.where(kept, 2 * value, 0.0))
        np.testing.assert_array_equal(chosen.curvature(np.ones(3), 1), 2.0 * kept.sum(keepdims=True)[None])
