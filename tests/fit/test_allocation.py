"""How a budget is split: closed forms, intervals that cover, and budgets that say what they lack."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, RecordError, SpecError
from scaling.fit.allocation.approaches import by_law, difference, envelope, isoflop
from scaling.fit.allocation.budgets import same_budget
from scaling.fit.allocation.cost import SIX_ND, cost_of
from scaling.fit.allocation.frontier import frontier
from scaling.fit.allocation.optimal import optimal
from scaling.fit.allocation.split import best_split, growth, weighted_quantiles
from scaling.fit.fitter import fit
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.recommend.of_published import fit_of_preset

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)
EXPONENT = 0.36 / 0.70
BUDGETS = np.geomspace(1e18, 1e21, 5)


def closed_form(flops):
    a, b, alpha, beta = (TRUTH.values[name] for name in ("A", "B", "alpha", "beta"))
    return (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))


def surface(n, d):
    return TRUTH.loss(n=n, d=d)


def sweep(noise=0.003, seed=0):
    rng = np.random.default_rng(seed)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    return pd.DataFrame({"n_params": n, "n_tokens": d, "loss": surface(n, d) * np.exp(rng.normal(0, noise, n.size))})


def isoflops(noise=0.0, seed=0, spread=4.0, sizes=7):
    """Runs of each budget about its own optimum."""
    rng = np.random.default_rng(seed)
    budget = np.repeat(BUDGETS, sizes)
    n = closed_form(budget) * np.tile(np.geomspace(1 / spread, spread, sizes), len(BUDGETS))
    d = budget / (6 * n)
    return n, d, surface(n, d) * np.exp(rng.normal(0, noise, n.size))


@pytest.fixture(scope="module")
def fitted():
    return fit(sweep(), law="chinchilla", bootstrap=100)


def test_the_best_split_and_its_growth_equal_the_closed_form():
    assert float(best_split(surface, 6e20)) == pytest.approx(closed_form(6e20), rel=2e-3)
    assert float(growth(surface, 6e20)) == pytest.approx(EXPONENT, abs=2e-3)


def test_an_exact_fit_has_the_exact_optimum():
    best = optimal(fit(sweep(noise=0.0), law="chinchilla", bootstrap=0), flops=6e20)
    assert best.n == pytest.approx(closed_form(6e20), rel=2e-3)
    assert 6 * best.n * best.d == pytest.approx(6e20)
    assert best.exponent == pytest.approx(EXPONENT, abs=2e-3)


def test_intervals_of_the_optimum_cover_as_often_as_promised():
    inside, exponents = [], []
    for seed in range(20):
        best = optimal(fit(sweep(seed=seed), law="chinchilla", bootstrap=100, starts=6), flops=1e20)
        inside.append(best.n_interval[0] < closed_form(1e20) < best.n_interval[1])
        exponents.append(best.exponent_interval[0] < EXPONENT < best.exponent_interval[1])
    assert 0.7 < np.mean(inside) <= 1
    assert 0.7 < np.mean(exponents) <= 1


@pytest.mark.parametrize(
    ("law", "side"),
    [
        (Chinchilla(E=1.7, A=1e-9, B=1200.0, alpha=0.34, beta=0.36), 0.0),
        (Chinchilla(E=1.7, A=400.0, B=1e-9, alpha=0.34, beta=0.36), math.inf),
    ],
)
def test_an_end_of_the_grid_is_no_optimum(law, side, fitted):
    assert float(best_split(lambda n, d: law.loss(n=n, d=d), 1e20)) == side
    lost = replace(fitted, members=(replace(fitted.members[0], law=law, weight=1.0),))
    with pytest.raises(FitError, match="not identified: along this budget the loss falls"):
        optimal(lost, flops=1e20)


def test_a_loss_that_is_flat_has_no_optimum():
    # The best of these is a rounding error below its neighbours.
    assert not 0 < float(best_split(lambda n, d: 2.0 + 1e-15 * (np.log(n) - 20) ** 2 + 0 * d, 1e20)) < np.inf


def test_draws_without_an_optimum_leave_the_interval_open(fitted):
    member = fitted.members[0]
    samples = member.samples.copy()
    samples[::3, member.law.names.index("B")] = 1e-9
    best = optimal(replace(fitted, members=(replace(member, samples=samples),)), flops=1e20)
    assert best.n_interval[1] == math.inf
    assert best.d_interval[0] == 0
    assert not best.identified
    assert "not identified above" in str(best)
    assert math.isnan(best.exponent_interval[0])


@pytest.mark.parametrize("flops", [0.0, -1.0, math.inf, math.nan])
def test_impossible_budgets_are_refused(fitted, flops):
    with pytest.raises(SpecError, match="flops"):
        optimal(fitted, flops=flops)


def test_a_cost_of_ones_own_moves_the_optimum_as_its_closed_form_says(fitted):
    # A model that will read as many tokens again in use: C = 6 N D + 2 N D_use; with C fixed, D = C/(6N) - D_use/3.
    use = 3e11
    cost = cost_of(f"6*n*d + 2*n*{use}")
    n = np.geomspace(1e7, 1e10, 2001)
    d = 1e21 / (6 * n) - use / 3
    brute = n[np.where(d > 0, surface(n, np.maximum(d, 1)), np.inf).argmin()]
    assert float(best_split(surface, 1e21, cost=cost)) == pytest.approx(brute, rel=0.01)
    found = optimal(fitted, flops=1e21, cost=cost)
    assert found.n < 0.9 * optimal(fitted, flops=1e21).n
    assert float(cost(found.n, found.d)) == pytest.approx(1e21)
    assert found.cost == f"6*n*d + 2*n*{use}"


def test_six_n_d_written_as_an_expression_is_the_default():
    written = cost_of("6*n*d")
    np.testing.assert_allclose(written.tokens(np.array([1e6, 1e9]), 1e20), SIX_ND.tokens(np.array([1e6, 1e9]), 1e20))


@pytest.mark.parametrize(("text", "what"), [("6*n", "does not grow with d"), ("6*n*tokens", "no such column")])
def test_costs_that_are_none_are_refused(text, what):
    with pytest.raises((SpecError, RecordError), match=what):
        cost_of(text).tokens(np.array([1e6]), 1e20)


def test_parabolas_find_the_exponent_and_report_their_bias():
    found = isoflop(*isoflops(), law=TRUTH)
    assert found.a == pytest.approx(EXPONENT, abs=0.01)
    np.testing.assert_allclose(found.n, closed_form(found.budgets), rtol=0.05)
    assert "misplace N*" in found.note
    assert found.left_out == ()


def test_intervals_of_parabolas_cover_their_own_noiseless_optimum():
    exact = isoflop(*isoflops())
    inside, exponents = [], []
    for seed in range(60):
        found = isoflop(*isoflops(noise=0.002, seed=seed), seed=seed)
        if len(found.n) == len(exact.n):
            inside += ((found.n_low < exact.n) & (exact.n < found.n_high)).tolist()
            exponents.append(found.a_interval[0] < exact.a < found.a_interval[1])
    assert 0.82 < np.mean(inside) < 0.97
    assert 0.78 < np.mean(exponents) <= 1


def test_a_budget_whose_minimum_lies_outside_its_sizes_names_the_size_to_add():
    n, d, loss = isoflops()
    small = (n < 0.9 * closed_form(BUDGETS[1])) | (np.abs(np.log(6 * n * d / BUDGETS[1])) > 0.1)
    more = np.geomspace(0.1, 0.24, 2) * closed_form(BUDGETS[1])
    n = np.concatenate([n[small], more])
    d = np.concatenate([d[small], BUDGETS[1] / (6 * more)])
    found = isoflop(n, d, surface(n, d))
    assert len(found.n) == 4
    (sentence,) = found.left_out
    assert f"C = {BUDGETS[1]:.3g}: the loss is lowest at its largest size" in sentence
    assert float(sentence.split("N = ")[1]) > closed_form(BUDGETS[1])


def test_budgets_of_few_sizes_are_named_and_too_few_budgets_refused():
    n, d, loss = isoflops()
    few = (np.abs(np.log(6 * n * d / BUDGETS[0])) > 0.1) | (n < 0.5 * closed_form(BUDGETS[0]))
    assert "sizes, a parabola needs 4" in isoflop(n[few], d[few], loss[few]).left_out[0]
    n = np.geomspace(1e6, 1e9, 8)
    with pytest.raises(FitError, match=r"found 0 optima and needs 3\. Left out: (C = [^;]+(; )?){3} and 5 more$"):
        isoflop(n, np.full(8, 1e9), surface(n, np.full(8, 1e9)))


def test_compute_that_is_spread_evenly_is_no_set_of_budgets():
    logs = np.linspace(np.log(1e18), np.log(1e21), 500)
    assert max(np.ptp(logs[rows]) for rows in same_budget(logs)) <= 0.3
    assert sum(len(rows) for rows in same_budget(logs)) == 500


def test_the_envelope_has_an_interval_and_names_what_it_left_out():
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 12), np.geomspace(1e8, 1e11, 12)))
    found = envelope(n, d, surface(n, d))
    assert found.a == pytest.approx(EXPONENT, abs=0.1)
    assert found.a_interval[0] < EXPONENT < found.a_interval[1]
    assert len(found.budgets) + len(found.left_out) == 12


def test_the_law_and_the_parabolas_are_compared(fitted):
    law = by_law(fitted, BUDGETS)
    assert law.a == pytest.approx(EXPONENT, abs=0.03)
    assert (law.n_low < law.n).all()
    assert (law.n < law.n_high).all()
    said = difference(isoflop(*isoflops(noise=0.001)), law, 1e20)
    assert "agree within their intervals" in said
    assert "isoflop puts N* at" in said


def test_a_frontier_answers_what_it_can_and_says_what_it_cannot():
    n, d, loss = isoflops(noise=0.001)
    found = frontier(pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss}), [1e20], law="chinchilla", bootstrap=50)
    assert [one.name for one in found.approaches] == ["law", "isoflop", "envelope"]
    assert found.optima[0].n == pytest.approx(closed_form(1e20), rel=0.1)
    assert (len(found.differences), found.text) == (2, "")
    scattered = sweep()
    scattered["n_tokens"] *= np.geomspace(1, 3, len(scattered))
    scattered["loss"] = surface(scattered.n_params, scattered.n_tokens)
    grid = frontier(scattered, [1e20, 1e21], law="chinchilla", bootstrap=0)
    assert len(grid.optima) == 2
    assert any("isoflop" in sentence for sentence in grid.refused)


def test_a_frontier_asks_the_runs_on_one_text_only():
    n, d, loss = isoflops()
    real = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss, "teacher": "real", "delta_noise": 0.0})
    noisy = real.assign(teacher="noise", delta_noise=0.3, loss=real.loss + 0.3)
    both = pd.concat([real, noisy], ignore_index=True)
    found = frontier(both, [1e20], law="q1", bootstrap=0, strict=False)
    iso = next(one for one in found.approaches if one.name == "isoflop")
    np.testing.assert_allclose(iso.n, isoflop(n, d, loss).n)
    assert found.text == "real"
    with pytest.raises(RecordError, match="no run on the text 'gpt'"):
        frontier(both, [1e20], law="q1", bootstrap=0, strict=False, teacher="gpt")


def test_weighted_quantiles_of_a_hand_made_sample():
    values, weights = np.array([3.0, 1.0, 2.0, np.inf]), np.array([0.2, 0.3, 0.3, 0.2])
    assert weighted_quantiles(values, weights, 0.5) == (1.0, 3.0)
    assert weighted_quantiles(values, weights, 0.9) == (1.0, np.inf)


def test_an_optimum_far_beyond_the_runs_says_how_far():
    found = fit(sweep(), law="chinchilla", bootstrap=0, strict=False)
    near, far = optimal(found, flops=1e19), optimal(found, flops=1e26)
    assert near.reach == 1.0
    assert "beyond" not in str(near)
    assert far.reach == pytest.approx(max(far.n / 1e9, far.d / 1e11))
    assert f"{far.reach:.3g}× beyond the runs" in str(far)
    assert optimal(fit_of_preset("besiroglu"), flops=1e26).reach == 1.0, "nobody knows its runs"
