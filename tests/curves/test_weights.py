"""The numbers behind a blended curve, on cases that are done by hand."""

import math

import numpy as np
import pytest

from scaling.curves.candidates import LAST, Candidate
from scaling.curves.fitter import fit_curve, skill_of
from scaling.curves.forecast import CurveFit, CurvePart
from scaling.curves.forms import M1
from scaling.curves.outliers import far_points

OCTAVES = np.log([1.0, 2.0, 4.0, 8.0])


def test_the_weight_of_a_point_halves_with_every_memory_before_the_last():
    np.testing.assert_allclose(Candidate("m1", memory=1).weights(OCTAVES), np.array([1, 2, 4, 8]) / 15)
    np.testing.assert_allclose(Candidate("m1", memory=3).weights(OCTAVES)[[0, 3]] @ [2, -1], 0, atol=1e-12)
    np.testing.assert_allclose(Candidate("m1").weights(OCTAVES), 0.25)
    np.testing.assert_allclose(LAST.weights(OCTAVES), [0, 0, 0, 1])


def test_skill_charges_for_coefficients_and_for_scatter():
    # One hidden tail after 10 points, a form of 2 coefficients: its squared error counts 12/8 times.
    own, last = {10: np.array([0.02, -0.02])}, {10: np.array([0.04, 0.04])}
    expected = math.sqrt((0.0004 * 1.5 + 0.0001) / (0.0016 + 0.00005))
    assert skill_of(own, last, 2, variance=0.0001, noise=0.00005) == pytest.approx(expected)
    assert skill_of({}, last, 2, variance=0.0, noise=0.0) is None


def test_a_residual_counts_the_coefficients_that_were_spent():
    x = np.geomspace(1e6, 1e8, 12)
    loss = 5.0 * x**-0.1 * np.exp(0.02 * np.random.default_rng(0).normal(size=12))
    part = fit_curve(x, loss, form="m1").parts[0]
    off = np.polyval(np.polyfit(np.log(x), np.log(loss), 1), np.log(x)) - np.log(loss)
    assert part.residual == pytest.approx(math.sqrt(np.sum(off**2) / (12 - 2)), rel=1e-6)


def test_parts_that_disagree_widen_the_interval_by_their_spread():
    parts = tuple(
        CurvePart(candidate=Candidate("m1"), law=M1(A=a, alpha=0.0), weight=w, residual=0.0, skill=1.0, starts=1.0)
        for a, w in ((2.0, 0.75), (2.0 * math.exp(0.1), 0.25))
    )
    fit = CurveFit(
        form="auto", parts=parts, x_range=(1.0, 10.0), n_points=9, validation_error=0.0, last_value_error=0.0,
        trend=0.0, noise=0.0,
    )  # fmt: skip
    found = fit.predict(20.0, level=0.9)
    assert found.value == pytest.approx(2.0 * math.exp(0.025))
    spread = math.sqrt(0.75 * 0.025**2 + 0.25 * 0.075**2)
    assert math.log(found.high / found.value) == pytest.approx(2.1318 * spread, rel=1e-4)


def test_where_more_than_a_fifth_of_the_points_are_far_off_none_is_left_out():
    u = np.linspace(0, 5, 24)
    few, many = -0.1 * u, -0.1 * u
    few[2:18:4] += 2.0
    many[2:22:4] += 2.0
    assert set(far_points(u, few)) == {2, 6, 10, 14}
    assert far_points(u, many) == {}
