"""The runs that are worth most for a decision: within the budget, on the question's side of the ladder, and early."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.fit.belief import Belief, believe
from scaling.laws.named import named_law
from scaling.predict.next_runs import Decision, Site, cost, next_runs, outlook
from scaling.tables.observe import observe

TRUTH = named_law("chinchilla").with_values({"E": 1.4, "A": 9.0, "B": 300.0, "alpha": 0.35, "beta": 0.5})
SIZES = np.array([2e4, 6e4, 2e5, 6e5])
VOLUMES = (2.5e5, 5e5, 1e6)


def ladder() -> list[Site]:
    return [
        Site(key=f"{n:g} {d:g}", trunk=f"{n:g}", columns={"n": n, "d": d}, flops=6 * n * d)
        for n in SIZES
        for d in VOLUMES
    ]


def known(bought: list[Site], seed: int = 0) -> Belief:
    rng = np.random.default_rng(seed)
    rows = [
        {"n": s.columns["n"], "d": s.columns["d"], "trunk": s.trunk, "loss": float(TRUTH.loss(**s.columns))}
        for s in bought
    ]
    table = pd.DataFrame(rows)
    table["loss"] *= np.exp(0.003 * rng.standard_normal(len(table)))
    data = observe(table, columns={"n": "n", "d": "d"}, loss="loss", clusters="trunk")
    return believe(data, named_law("chinchilla"), volume=1e6)


def asked(wanted: float, **measured: float) -> Decision:
    """The decision whose true answer is the first size of at least so many parameters."""
    return Decision(sizes=SIZES, columns={"d": 1e6}, target=float(TRUTH.loss(n=wanted, d=1e6)), measured=measured)


FIRST = ladder()[:3]
BELIEF = known(FIRST)


@settings(max_examples=15, deadline=None)
@given(budget=st.floats(1e10, 1e13), wanted=st.floats(1e4, 1e6))
def test_a_budget_is_kept_and_error_is_never_foreseen_to_rise(budget, wanted):
    offered = ladder()[3:]
    found = next_runs(BELIEF, asked(wanted), offered, flops=budget)
    assert found.flops <= budget
    assert found.flops == cost([site for site in offered if site.key in found.keys])
    assert 0 <= found.after <= found.before


def test_branches_of_a_trunk_share_its_steps():
    whole = ladder()[:3]
    assert cost(whole) == pytest.approx(whole[2].flops + 0.2 * (whole[0].flops + whole[1].flops))
    assert cost(ladder()) == pytest.approx(sum(cost([s for s in ladder() if s.trunk == f"{n:g}"]) for n in SIZES))


def test_a_trunk_is_bought_with_its_early_branches():
    found = next_runs(BELIEF, asked(1.5e5), ladder()[3:], flops=1e13, most_trunks=1)
    bought = sorted(float(key.split()[1]) for key in found.keys)
    assert bought == list(VOLUMES[: len(bought)])


def test_what_was_measured_rules_candidates_out():
    target = float(TRUTH.loss(n=1e5, d=1e6))
    losses = {1: target * 1.01, 2: target * 0.99}
    found = outlook(BELIEF, Decision(sizes=SIZES, columns={"d": 1e6}, target=target, measured=losses))
    assert (found.choice, found.agreement, found.error, found.settled) == (2, 1.0, 0.0, True)
    none = Decision(sizes=SIZES, columns={"d": 1e6}, target=target, measured={3: target * 1.01})
    assert outlook(BELIEF, none).choice == len(SIZES)


def test_a_decision_that_is_settled_buys_nothing_more():
    everything = known(ladder())
    decision = asked(1.1e5)
    done = Decision(sizes=SIZES, columns=decision.columns, target=decision.target, measured={1: 9.0, 2: 1.0})
    assert next_runs(everything, done, ladder(), flops=1e13).keys == ()


def test_evidence_brings_the_draws_together():
    for seed in range(3):
        few, many = (outlook(known(bought, seed), asked(1.5e5)) for bought in (FIRST, ladder()))
        assert many.error < 0.6 * few.error


def test_a_margin_asks_for_a_larger_size():
    decision = asked(1.5e5)
    careful = Decision(sizes=SIZES, columns=decision.columns, target=decision.target, margin=0.01)
    assert (careful.wanted(BELIEF) >= decision.wanted(BELIEF)).all()
    assert math.isfinite(careful.wanted(BELIEF).sum())


def test_draws_that_agree_by_their_prior_settle_nothing_before_a_second_size_was_seen():
    sure = Belief(BELIEF.law, np.tile(BELIEF.draws[:1], (50, 1)), BELIEF.volume)
    decision = asked(1.5e5)
    one, two = (replace(decision, seen=frozenset(SIZES[:count].tolist())) for count in (1, 2))
    found = outlook(sure, one)
    assert (found.agreement, found.error, found.settled) == (1.0, 0.0, False)
    assert outlook(sure, two).settled
    # What would settle it is another size, the cheapest; where that cannot be paid, nothing is bought in its place.
    bought = next_runs(sure, one, ladder(), flops=1e13)
    assert {key.split()[0] for key in bought.keys} == {f"{SIZES[1]:g}"}
    assert next_runs(sure, one, ladder(), flops=bought.flops * 0.99).keys == ()
    assert next_runs(sure, two, ladder(), flops=1e13).keys == ()


def test_what_was_measured_settles_a_decision_of_one_size():
    met = replace(asked(1.5e4), measured={0: 1.0}, seen=frozenset(SIZES[:1].tolist()))
    found = outlook(BELIEF, met)
    assert (found.choice, found.settled) == (0, True)
