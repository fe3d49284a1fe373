"""Inverses invert, allocations are cheapest, published examples are reproduced, and slips of units are named."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.fit.fitter import fit
from scaling.laws.presets import preset
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.explain.answer import solve
from scaling.predict.solve.budget import flops_of_energy, lifetime_cost, trainings_for_loss
from scaling.predict.solve.inverse import cheapest_training, tokens_for
from scaling.predict.solve.steps import optimal_steps, steps_of
from scaling.predict.solve.units import check_target
from scaling.predict.solve.vocabulary import optimal_vocabulary, tokens_of

SARDANA = Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.336, beta=0.283)


def sardana(n, d):
    return SARDANA.loss(n=n, d=d)


@settings(max_examples=20, deadline=None)
@given(n=st.floats(1e7, 1e12), d=st.floats(1e9, 1e14))
def test_a_loss_is_turned_back_into_its_size_and_its_data(n, d):
    loss = float(preset("hoffmann").law.loss(n=n, d=d))
    assert solve("hoffmann", target_loss=loss, n=n).trainings[0].n_tokens == pytest.approx(d, rel=1e-9)
    assert solve("hoffmann", target_loss=loss, d=d).trainings[0].n_params == pytest.approx(n, rel=1e-9)


def test_the_smallest_size_is_that_of_unlimited_data():
    smallest, optimal = solve("besiroglu", target_loss=2.2).trainings
    assert smallest.n_params == pytest.approx((482.01 / (2.2 - 1.8172)) ** (1 / 0.3478))
    assert optimal.n_params > smallest.n_params
    assert optimal.loss == pytest.approx(2.2)


@settings(max_examples=10, deadline=None)
@given(loss=st.floats(1.9, 2.8), wanted=st.floats(1e9, 1e14))
def test_no_other_size_is_cheaper_over_a_life(loss, wanted):
    n, d = cheapest_training(sardana, loss, lifetime_cost(wanted))
    cost = lifetime_cost(wanted)
    others = n * np.array([0.5, 0.9, 1.1, 2.0])
    assert np.all(cost(others, tokens_for(sardana, loss, others)) > cost(n, d))
    # The condition of the first order: each term's elasticity in proportion to what it costs.
    size, data = SARDANA.alpha * SARDANA.A * n**-SARDANA.alpha, SARDANA.beta * SARDANA.B * d**-SARDANA.beta
    assert size / data == pytest.approx(1 + wanted / (3 * d), rel=2e-3)


def test_the_example_of_the_inference_aware_allocation_is_reproduced():
    """A model as good as a compute-optimal one of 13B, and 2T tokens of use: 7B on 2.1 × the data save 17 %, 1.7e22."""
    optimal, aware = trainings_for_loss(sardana, 2.0452819, inference_tokens=2e12)[1:]
    assert optimal.n_params == pytest.approx(13e9, rel=0.01)
    assert aware.n_params == pytest.approx(7e9, rel=0.02)
    assert aware.n_tokens / optimal.n_tokens == pytest.approx(2.1, abs=0.1)
    saved = optimal.lifetime_flops - aware.lifetime_flops
    assert saved == pytest.approx(1.7e22, rel=0.02)
    assert saved / optimal.lifetime_flops == pytest.approx(0.17, abs=0.006)


def test_a_budget_is_split_as_the_closed_form_says():
    (found,) = solve("hoffmann", flops=1e21).trainings
    law = preset("hoffmann").law
    g = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    assert found.n_params == pytest.approx(g * (1e21 / 6) ** (law.beta / (law.alpha + law.beta)), rel=1e-3)
    assert found.flops == pytest.approx(1e21)


def test_a_budget_of_training_and_use_is_spent_whole_on_a_smaller_model():
    optimal, aware = solve("hoffmann", flops=1e21, inference_tokens=1e11).trainings
    assert aware.lifetime_flops == pytest.approx(1e21)
    assert aware.n_params < optimal.n_params


def test_a_budget_at_a_given_size_or_volume_leaves_the_other():
    assert solve("hoffmann", flops=6e18, n=1e8).trainings[0].n_tokens == pytest.approx(1e10)
    assert solve("hoffmann", flops=6e18, d=1e10).trainings[0].n_params == pytest.approx(1e8)


def test_an_energy_is_a_number_of_flops():
    assert flops_of_energy(1.0, flops_per_s=1e14, watts=400) == pytest.approx(9e17)
    assert flops_of_energy(1.0, flops_per_s=1e14, watts=400, pue=2.0) == pytest.approx(4.5e17)
    with pytest.raises(SpecError, match="--watts"):
        flops_of_energy(1.0, flops_per_s=1e14, watts=0)


def test_a_teachers_floor_puts_losses_out_of_reach():
    with pytest.raises(InfeasibleError, match=r"floor 1\.904") as refused:
        solve("hoffmann", target_loss=1.8, teacher="palm")
    assert refused.value.floor == pytest.approx(1.904, abs=1e-3)
    assert solve("hoffmann", target_loss=2.0, teacher="palm").trainings[0].n_params > 1e10


def test_a_size_that_never_gets_there_says_how_far_it_gets():
    with pytest.raises(InfeasibleError, match=r"comes to 2\.479"):
        solve("hoffmann", target_loss=2.2, n=1e8)


@pytest.mark.parametrize("law", ["muennighoff", "muennighoff-lowest"])
def test_a_law_of_repeated_text_is_asked_of_fresh_text_unless_said_otherwise(law):
    found, fresh = (solve(one, target_loss=2.9) for one in (law, "muennighoff-unique"))
    assert found.floor == pytest.approx(fresh.floor, rel=1e-12)
    for one, other in zip(found.trainings, fresh.trainings, strict=True):
        assert (one.n_params, one.n_tokens) == pytest.approx((other.n_params, other.n_tokens), rel=0.02)
    assert solve(law, target_loss=2.9, columns={"n_unique_tokens": 1e9}).floor > fresh.floor + 0.5


@pytest.mark.parametrize("given", [{}, {"n": 1e9}, {"d": math.inf}])
def test_a_law_whose_loss_grows_with_tokens_for_ever_is_not_asked_of_unlimited_text(given):
    bits = {"bits": 4.0, "bits_weights": 8.0, "bits_activations": 8.0, "bits_cache": 8.0}
    with pytest.raises(SpecError, match=r"has no finite limit there — give --tokens"):
        solve("kumar", target_loss=3.1, columns=bits, **given)
    assert solve("kumar", target_loss=3.1, columns=bits, d=2e10).trainings[0].n_params < 1e9


@pytest.mark.parametrize("said", [{}, {"target_loss": 2.0, "flops": 1e20}])
def test_one_question_is_answered_at_a_time(said):
    with pytest.raises(SpecError, match="got both" if said else "got neither"):
        solve("hoffmann", **said)
    with pytest.raises(SpecError, match="leaves nothing open"):
        solve("hoffmann", target_loss=2.0, n=1e9, d=1e9)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (0.0, "positive"),
        (-1.0, "positive"),
        (math.inf, "positive"),
        (18.0, r"perplexity, ask for its logarithm, 2\.89"),
        (0.9, r"bits/byte, ask for 1\.56 to 3\.12"),
    ],
)
def test_a_target_in_another_unit_is_refused_with_the_likely_one(loss, said):
    with pytest.raises(SpecError, match=said):
        check_target(loss, 1.69)
    assert check_target(2.0, 1.69) is None


def test_a_vocabulary_bounds_a_loss_by_its_own_uniform_guess():
    assert check_target(4.3, 1.4) is None
    with pytest.raises(SpecError, match=r"got 4\.3 nats/token, allowed is up to 4\.16, .* among 64 tokens"):
        check_target(4.3, 1.4, vocab_size=64)
    with pytest.raises(SpecError, match=r"got 9 bits/byte, allowed is up to 8,"):
        check_target(9.0, 0.5, unit="bits/byte")


def test_a_fit_tells_a_target_in_another_unit_by_the_tokens_of_its_own_runs():
    n, d = (grid.ravel() for grid in np.meshgrid([1e4, 1e5, 1e6], [1e6, 1e7, 1e8]))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": SARDANA.loss(n=n, d=d)})
    told = runs.assign(vocab_size=30_000, bits_per_byte=runs.loss / math.log(2) / 4.0)
    unknown, known = (fit(one, law="chinchilla", bootstrap=0) for one in (runs, told))
    assert (known.made_of.vocab_size, known.made_of.bytes_per_token) == (30_000, 4.0)
    with pytest.raises(SpecError, match=r"allowed is up to 10\.3, which a blind guess among 30,000 tokens reaches"):
        solve(known, target_loss=11.0)
    with pytest.raises(SpecError, match=r"ask for 2\.5 \(times ln 2 and 4 bytes a token\)"):
        solve(known, target_loss=0.9)
    # A fit that does not know them may be told, one that does may not be told otherwise.
    with pytest.raises(SpecError, match=r"allowed is up to 4\.17, which a blind guess among 65 tokens"):
        solve(unknown, target_loss=11.0, vocab_size=65)
    with pytest.raises(SpecError, match=r"the largest vocabulary in use: which one it is here is not known"):
        solve(unknown, target_loss=13.0)
    with pytest.raises(SpecError, match=r"--vocab: got 65, .* of a vocabulary of 30,000 — leave it out"):
        solve(known, target_loss=3.0, vocab_size=65)


def test_a_fit_gives_the_answers_that_lie_near_its_runs_and_names_the_others():
    n, d = (grid.ravel() for grid in np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11]))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": SARDANA.loss(n=n, d=d)})
    found = fit(runs, law="chinchilla", bootstrap=0)
    optimal = solve(found, target_loss=3.6, force=True).trainings[1]
    near = solve(found, target_loss=3.6)
    assert [one.what for one in near.trainings] == ["compute-optimal"]
    assert near.trainings[0].n_params == optimal.n_params
    assert re.match(r"left out: smallest size, of unlimited tokens: N = \S+, \S+× beyond the runs", near.notes[-1])
    with pytest.raises(ExtrapolationError, match=r"the answer \(smallest size, of unlimited tokens: N = \S+\) lies"):
        solve(found, target_loss=7.0)


@pytest.mark.parametrize(("given", "met"), [({}, "N = 1e+08 on D = 1e+11"), ({"d": 2e9}, "N = 1e+08 on D = 2e+09")])
def test_a_target_that_the_smallest_run_meets_is_refused_with_what_that_run_reaches(given, met):
    n, d = (grid.ravel() for grid in np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11]))
    found = fit(pd.DataFrame({"n_params": n, "n_tokens": d, "loss": SARDANA.loss(n=n, d=d)}), law="chinchilla")
    with pytest.raises(ExtrapolationError, match=re.escape(f"among the runs {met} reaches") + r" \S+ already"):
        solve(found, target_loss=7.0, **given)
    with pytest.raises(ExtrapolationError) as refused:
        solve(found, target_loss=SARDANA.E + 1e-3)
    assert "already" not in str(refused.value)


@pytest.mark.parametrize(
    ("law", "most"), [("kaplan", 10.8), ("shehper", 10.8), ("hoffmann", 10.4), ("besiroglu", 10.4)]
)
def test_a_published_law_is_asked_for_no_loss_above_a_guess_among_its_own_tokens(law, most):
    with pytest.raises(
        SpecError, match=rf"--target-loss: got 12 nats/token, allowed is up to {most}, .* logarithm, 2\.485"
    ):
        solve(law, target_loss=12.0)


def test_the_best_steps_of_a_compute_are_lower_than_those_of_any_other_size():
    law, batch = preset("kaplan-ns").law, preset("kaplan-batch").law
    found = optimal_steps(law, batch, 1e23)
    others = found.n_params * np.array([0.5, 0.95, 1.05, 2.0])
    assert np.all(law.loss(n=others, s_min=steps_of(law, batch, others, 1e23)) > found.loss)
    spent = 6 * found.n_params * found.critical_batch_tokens * found.s_min
    assert spent == pytest.approx(1e23, rel=1e-6)


def test_compute_optimal_loss_falls_with_the_exponent_of_the_law_of_steps():
    """1/(1/alpha_S + 1/alpha_B + 1/alpha_N) = .052: Kaplan et al. 2020, eq. 6.2."""
    law, batch = preset("kaplan-ns").law, preset("kaplan-batch").law
    low, high = (optimal_steps(law, batch, c) for c in (1e22, 1e24))
    exponent = -math.log(high.loss / low.loss) / math.log(100)
    assert exponent == pytest.approx(1 / (1 / 0.76 + 1 / 0.21 + 1 / 0.077), rel=0.02)
    assert math.log(high.s_min / low.s_min) / math.log(100) == pytest.approx(exponent / 0.76, rel=0.05)


@pytest.mark.parametrize(
    ("n_params", "width", "flops", "vocab_size"),
    [(2.87e9, 3200, 1.3e21, 37e3), (7e9, 4096, 7.1e21, 60e3), (13e9, 5120, 2.4e22, 81e3), (70e9, 8192, 7.1e23, 216e3)],
)
def test_the_published_optima_of_the_vocabulary_follow_from_the_law(n_params, width, flops, vocab_size):
    """Tao et al. 2024, table 3, approach 3: at a compute, rather than at a number of bytes."""
    sizes = np.geomspace(4e3, 1e6, 2000)
    tokens = flops / (6 * (n_params + sizes * width))
    losses = preset("tao").law.loss(n=n_params, n_vocab_params=sizes * width, d=tokens)
    assert sizes[losses.argmin()] == pytest.approx(vocab_size, rel=0.03)


@settings(max_examples=10, deadline=None)
@given(budget=st.floats(2e7, 1e10), characters=st.floats(1e9, 1e13))
def test_no_other_vocabulary_of_the_same_bytes_has_a_lower_loss(budget, characters):
    found = optimal_vocabulary(budget, characters=characters)
    best = found.best
    assert (best.n_params + best.n_vocab_params) * found.bytes_per_param == pytest.approx(budget, rel=1e-9)
    assert all(other.loss >= best.loss - 1e-4 for other in found.others)
    assert found.flat[0] <= best.vocab_size <= found.flat[1]


def test_a_larger_vocabulary_writes_text_in_fewer_tokens():
    tokens = tokens_of(1e9, np.array([4096.0, 32768.0, 96256.0]))
    assert np.all(np.diff(tokens) < 0)


def test_bytes_that_hold_no_model_are_refused():
    with pytest.raises(InfeasibleError, match="hold no model"):
        optimal_vocabulary(5_000, characters=1e9)


@pytest.mark.parametrize(("flops", "got"), [(0, "got 0"), (-1e20, "got -1e"), ("inf", "got inf")])
def test_a_budget_that_is_none_is_refused_with_what_was_got(flops, got):
    with pytest.raises(SpecError, match=f"a finite number of FLOPs above zero — {got}"):
        solve("hoffmann", flops=flops)
