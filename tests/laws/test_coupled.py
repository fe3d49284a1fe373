"""Laws in which size and data do not act apart: their limits, and recovery of known coefficients."""

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.errors import SpecError
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import search
from scaling.laws.coupled import REFERENCE_SIZE, Farseer, Product
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla

BASE = {"E": 1.7, "A": 300.0, "B": 900.0, "alpha": 0.33, "beta": 0.35}
FARSEER = Farseer(**BASE, zeta=-0.3, eta=0.05)
PRODUCT = Product(**BASE, C=5e4)
GRID = {"n": np.geomspace(1e6, 1e10, 7)[:, None], "d": np.geomspace(1e8, 1e12, 6)}


@pytest.mark.parametrize(
    "law", [Farseer(**BASE, zeta=0.0, eta=0.0), Product(**BASE, C=0.0)], ids=["farseer", "product"]
)
def test_without_coupling_it_is_chinchilla(law):
    np.testing.assert_allclose(law.loss(**GRID), Chinchilla(**BASE).loss(**GRID), rtol=1e-12)


@pytest.mark.parametrize("law", [FARSEER, PRODUCT], ids=["farseer", "product"])
def test_infinite_data_leave_the_size_term_and_an_infinite_model_on_them_the_floor(law):
    n = np.array([1e6, 1e9, 1e12])
    np.testing.assert_allclose(law.loss(n=n, d=np.inf), 1.7 + 300.0 * n**-0.33, rtol=1e-12)
    assert law.loss(n=np.inf, d=np.inf) == 1.7


def test_the_exponent_of_data_falls_with_size_as_the_power_eta():
    for n in (REFERENCE_SIZE, 16 * REFERENCE_SIZE):
        excess = [float(FARSEER.loss(n=n, d=d) - FARSEER.loss(n=n, d=np.inf)) for d in (1e9, 1e10)]
        assert np.log10(excess[0] / excess[1]) == pytest.approx(0.35 * (n / REFERENCE_SIZE) ** -0.05, rel=1e-9)


def test_a_product_of_two_sums_is_the_product_law():
    a, b, size, data = 0.4, 0.3, 300.0 * GRID["n"] ** -0.33, 900.0 * GRID["d"] ** -0.35
    law = Product(E=1.7 + a * b, A=b * 300.0, B=a * 900.0, C=300.0 * 900.0, alpha=0.33, beta=0.35)
    np.testing.assert_allclose(law.loss(**GRID), 1.7 + (a + size) * (b + data), rtol=1e-12)


@pytest.mark.parametrize("law", [FARSEER, PRODUCT], ids=["farseer", "product"])
def test_known_coefficients_are_recovered_from_runs_with_noise(law):
    x = law.prepare({name: np.broadcast_to(axis, (7, 6)).ravel() for name, axis in GRID.items()})
    loss = law.evaluate(law.vector, x) * np.exp(1e-4 * np.random.default_rng(0).normal(size=42))
    found = search(Problem(named_law(law.name), x, loss, np.ones(42), Objective("squared")), count=12)
    larger = {"n": 1e11, "d": 1e13}
    assert law.with_values(found.theta).loss(**larger) == pytest.approx(law.loss(**larger), rel=2e-3)
    np.testing.assert_allclose(found.theta[[0, 3, 4]], [1.7, 0.33, 0.35], rtol=0.05)
    assert found.reached >= 6


def test_a_teacher_form_on_a_coupled_base_has_both_effects():
    law = named_law("farseer+q1q2").with_values(FARSEER.values | {"kappa": 1.0, "c": 2.0})
    text = {"delta_noise": 0.2, "delta_coverage": 0.0}
    expected = 0.2 + FARSEER.loss(n=1e8, d=1e10 * np.exp(-0.4))
    assert law.loss(n=1e8, d=1e10, **text) == pytest.approx(expected, rel=1e-12)


def test_a_teacher_form_is_recovered_on_a_coupled_base():
    n, d, noise = (axis.ravel() for axis in np.meshgrid([1e6, 1e7, 1e8], np.geomspace(1e8, 1e11, 5), [0.0, 0.1, 0.4]))
    x = SimpleNamespace(n=n, d=d, delta_noise=noise, delta_coverage=np.zeros_like(n))
    law = named_law("product+q1").with_values(PRODUCT.values | {"kappa": 0.9})
    loss = law.evaluate(law.vector, x) * np.exp(1e-4 * np.random.default_rng(1).normal(size=n.size))
    problem = Problem(named_law("product+q1"), x, loss, np.ones_like(loss), Objective("squared"))
    assert search(problem, count=8).theta[law.names.index("kappa")] == pytest.approx(0.9, abs=5e-3)


@pytest.mark.parametrize("base", ["farseer", "product"])
def test_repetition_needs_a_base_with_a_closed_form_of_its_optimum(base):
    with pytest.raises(SpecError, match="no closed form of the compute-optimal size"):
        named_law(f"{base}+repeated")
