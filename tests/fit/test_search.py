"""Which starts a search tries, and what it says of those that agree: two wells, of which the left one is deeper."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import search
from scaling.laws.coupled import Skaling
from scaling.laws.law import Coefficient, ScalingLaw

LEFT, RIGHT = -1.3, 1.3


class Wells(ScalingLaw):
    """Two wells at -1 and 1 for runs of n = 1, and a slope to the right for those of n = 2."""

    columns = ("n",)
    coefficients = (Coefficient("a", low=-3.0, high=3.0, start=(-2.0, 2.0)),)
    is_linear = False

    def formula(self, p, x):
        far = x.n - 1
        return (1 - far) * (2 + 0.3 * (p.a * p.a - 1) ** 2 + 0.1 * p.a) + far * (2 + 0.5 * p.a)


def problem(kind="squared", off=0):
    """Twenty runs below both wells, and some far above any."""
    n, loss = np.repeat([1.0, 2.0], [20, off]), np.repeat([1.5, 50.0], [20, off])
    return Problem(Wells(), SimpleNamespace(n=n), loss, np.ones(len(n)), Objective(kind))


@pytest.mark.parametrize(
    ("first", "tried", "reached", "a"), [([RIGHT] * 8, 8, 8, 1), ([RIGHT] * 7 + [LEFT], 32, 25, -1)]
)
def test_the_other_starts_are_spared_only_where_the_first_eight_end_in_one_minimum(first, tried, reached, a):
    found = search(problem(), starts=np.array([*first, *[LEFT] * 24])[:, None], every=False)
    assert (found.tried, found.reached, round(found.theta[0])) == (tried, reached, a)


def test_whoever_asks_for_every_start_has_every_start_tried():
    found = search(problem(), starts=np.array([RIGHT] * 8 + [LEFT] * 24)[:, None])
    assert (found.tried, found.reached, round(found.theta[0])) == (32, 24, -1)


def test_a_quarter_of_many_starts_must_agree():
    starts = np.array([RIGHT] * 15 + [LEFT] * 49)[:, None]
    assert search(problem(), starts=starts, every=False).tried == 64
    assert search(problem(), starts=starts[::-1], every=False).tried == 16


def test_a_minimum_that_least_squares_lead_away_from_is_found_and_counts_as_disagreement():
    # Three runs far off draw the sum of squares to the right, where the robust objective is higher.
    found = search(problem("huber", off=3), starts=np.full((32, 1), LEFT), every=False)
    assert (found.tried, found.reached, round(found.theta[0])) == (32, 4, -1)


def test_the_lowest_way_along_a_valley_without_a_floor_is_followed_to_its_end(monkeypatch):
    # A law of powers with a floor, asked of losses that have none: E goes to 0, which no single step reaches.
    n, ratio = (axis.ravel() for axis in np.meshgrid(np.geomspace(2e7, 4e8, 6), np.geomspace(5, 100, 5)))
    loss = ((1.5e12 / n) ** 0.8 + 6e10 / (n * ratio)) ** 0.095
    loss *= np.exp(0.003 * np.random.default_rng(1).standard_normal(n.size))
    valley = Problem(Skaling(), SimpleNamespace(n=n, d=n * ratio), loss, np.ones(n.size), Objective(delta=0.01))
    found = search(valley, every=False)
    monkeypatch.setattr("scaling.fit.solve.search.LAST_STEPS", 1)
    stopped = search(valley, every=False)
    assert (found.converged, stopped.converged) == (True, False)
    assert found.value < stopped.value
