"""A forecast explains itself: its parts add up, its limits are limits, its cheapest training is cheapest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from scaling.errors import SpecError
from scaling.fit.saved.files import load
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.explain.basis import Basis
from scaling.predict.forecast import explain, from_fit, from_preset
from scaling.predict.solve.inverse import cheapest_training, tokens_for

BESIROGLU = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)


def surface(n, d):
    return BESIROGLU.loss(n=n, d=d)


LAW = Basis(name="", formula="", source="", real=surface)


def test_floor_size_term_and_data_term_sum_to_the_loss():
    found = explain(LAW, 1e8, 2e9)
    assert found.floor + found.size_term + found.data_term == pytest.approx(found.loss, rel=1e-12)
    assert found.size_term == pytest.approx(482.01 / 1e8**0.3478)
    assert found.data_term == pytest.approx(2085.43 / 2e9**0.3658)


def test_tokens_to_the_asymptote_match_the_closed_form():
    found = explain(LAW, 1e8, math.inf)
    assert found.tokens_to_asymptote == pytest.approx((2085.43 / 0.05) ** (1 / 0.3658), rel=1e-6)


def test_the_cheapest_training_matches_the_closed_form_frontier():
    n, d = cheapest_training(surface, 2.2)
    g = (0.3478 * 482.01 / (0.3658 * 2085.43)) ** (1 / (0.3478 + 0.3658))
    a = 0.3658 / (0.3478 + 0.3658)
    assert n == pytest.approx(g * (n * d) ** a, rel=1e-2)
    assert surface(n, d) == pytest.approx(2.2, abs=1e-9)
    neighbours = np.array([0.9, 1.1]) * n
    assert np.all(neighbours * tokens_for(surface, 2.2, neighbours) > n * d)


def test_a_loss_below_the_floor_has_no_training():
    assert cheapest_training(surface, 1.8) == (math.inf, math.inf)


def test_a_teacher_that_is_named_by_its_beginning_is_told_by_its_whole_label():
    fit = load(Path(__file__).resolve().parents[2] / "results" / "reference" / "registered_prose_fit.json")
    assert from_fit(fit, 2e5, 1e6, teacher="ngram").text == "text of ngram 5"
    assert from_fit(fit, 2e5, 1e6).text == "real text"


@pytest.mark.parametrize(("name", "expected"), [("besiroglu", 2.61), ("hoffmann", 2.48)])
def test_published_laws_answer_the_hundred_million_question(name, expected):
    assert round(from_preset(name, 100e6, math.inf).loss, 2) == expected


@pytest.mark.parametrize(("n", "d"), [(0, 1e9), (-1, 1e9), (1e8, math.nan)])
def test_impossible_sizes_are_refused(n, d):
    with pytest.raises(SpecError, match="allowed is a positive number or inf"):
        explain(LAW, n, d)


@pytest.mark.parametrize("lost", ["A", "B"])
def test_a_law_that_lost_a_term_has_no_cheapest_training(lost):
    law = Chinchilla(**({"E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.36} | {lost: 1e-9}))
    assert cheapest_training(lambda n, d: law.loss(n=n, d=d), 2.2) == (math.inf, math.inf)
