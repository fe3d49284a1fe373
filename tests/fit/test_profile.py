"""Profiles follow the objective of their fit, and widen by the noise that trunks share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling.fit.doubt.covariance import FEW_TRUNKS, covariance
from scaling.fit.doubt.profile import effect_on_coefficient, profile
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.fit.stack.versions import level_prior
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla
from scaling.tables.observe import observe

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def observed(trunks: int = 8, shared: float = 0.004):
    """Runs of a law, each trunk of which has noise of its own beside that of its runs."""
    rng = np.random.default_rng(0)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6), indexing="ij"))
    trunk = np.arange(n.size) * trunks // n.size
    noise = rng.normal(0, shared, trunks)[trunk] + rng.normal(0, 0.002, n.size)
    runs = pd.DataFrame({"n": n, "d": d, "loss": TRUTH.loss(n=n, d=d) * np.exp(noise), "trunk_id": trunk})
    return observe(runs, columns={"n": "n", "d": "d"})


@pytest.mark.parametrize("kind", ["huber", "squared"])
@pytest.mark.parametrize("informed", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("held", [{}, {"E": 1.7}])
def test_a_profile_is_of_the_objective_that_was_minimised(kind, informed, held):
    problem = make_problem(named_law("chinchilla"), observed(), Objective(kind), held)
    known = level_prior(problem.law)
    weights = np.linspace(0.5, 2.0, len(problem.loss))
    problem = replace(problem, weights=weights, prior=replace(known, precision=informed * known.precision))
    optimum = search(problem, held=held, count=8)
    curve = profile(problem, optimum, "alpha", points=21)
    assert curve.objective.min() * problem.objective.unit == pytest.approx(optimum.value, rel=1e-6)
    assert curve.values[curve.objective.argmin()] == pytest.approx(optimum.theta[problem.law.names.index("alpha")])


@pytest.mark.parametrize("trunks", [2, FEW_TRUNKS - 1, FEW_TRUNKS, 12])
def test_shared_noise_widens_a_lone_coefficient_alike_in_its_profile_and_in_the_covariance(trunks):
    data = observed(trunks)
    others = {name: TRUTH.values[name] for name in ("E", "A", "B", "beta")}
    problem = make_problem(named_law("chinchilla"), data, Objective(), others)
    optimum, own = search(problem, held=others, count=8), problem.law.names.index("alpha")
    (alone, _), (shared, _) = (
        covariance(problem, optimum.u[None], weights=problem.weights[None], cluster=cluster)
        for cluster in (None, data.cluster)
    )
    effect = effect_on_coefficient(problem, optimum, own, data.cluster)
    assert effect == pytest.approx(shared[0, own, own] / alone[0, own, own])
    assert effect > 1 if trunks >= FEW_TRUNKS else effect == pytest.approx(len(data) / trunks)


def test_noise_that_trunks_share_does_nothing_to_a_coefficient_that_is_not_free():
    data = observed(trunks=3)
    problem = make_problem(named_law("chinchilla"), data, Objective(), {"E": 1.7})
    optimum = search(problem, held={"E": 1.7}, count=8)
    beta = problem.law.names.index("beta")
    on_bound = np.where(np.arange(len(optimum.u)) == beta, problem.low, optimum.u)
    for name, at in (("E", optimum), ("beta", replace(optimum, u=on_bound))):
        assert effect_on_coefficient(problem, at, problem.law.names.index(name), data.cluster) == 1.0
    free = [i for i, name in enumerate(problem.law.names) if name != "E"]
    assert {effect_on_coefficient(problem, optimum, i, data.cluster) for i in free} == {len(data) / 3}
    assert {effect_on_coefficient(problem, optimum, i, np.arange(len(data))) for i in free} == {1.0}
