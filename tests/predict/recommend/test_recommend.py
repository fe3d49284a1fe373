"""The recommendation is the smallest that qualifies, and an impossible question says why."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.fit.evidence import Calibration, Member, Status
from scaling.fit.reach import MAX_REACH
from scaling.fit.result import Fit
from scaling.fit.solve.objective import Objective
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.phones.footprint import Footprint
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import size_of
from scaling.predict.recommend.recommendation import recommend
from scaling.spec import ModelSpec, RunSpec

LAW = Chinchilla(E=1.4, A=20.0, B=300.0, alpha=0.35, beta=0.5)


def make_fit(*, largest_n: float = 4e5, largest_d: float = 4e6) -> Fit:
    """A law that is known exactly, with 1 % noise of a single run."""
    return Fit(
        members=(Member(law=LAW, weight=1.0, value=0.0, tried=1, reached=1, samples=np.zeros((0, 5))),),
        objective=Objective("huber", 1e-3, True),
        columns={"n": "n_params", "d": "n_tokens", "loss": "loss"},
        teachers={},
        ranges={"n": (1e4, largest_n), "d": (1e5, largest_d)},
        n_runs=12,
        n_clusters=4,
        excluded=(),
        residuals={},
        status=Status(converged=True, interior=True, identified=True),
        calibration=Calibration(levels=(0.05, 0.5, 0.95), quantiles=(-1.64, 0.0, 1.64), noise=0.01),
        covariance=np.eye(5),
    )


def run(width: int, tokens: int, layers: int = 2) -> RunSpec:
    return RunSpec(
        model={"vocab_size": 65, "width": width, "n_layers": layers, "context": 40},
        data={"source": {"kind": "w0"}},
        tokens=tokens,
    )


def bytes_of(model: ModelSpec) -> Footprint:
    """One byte a parameter: any increasing measure does."""
    weights = size_of(model, "n_params_total")
    return Footprint(weights_bytes=weights, kv_cache_bytes=0, compute_bytes=0, engine_bytes=1000)


def ask(runs, *, force: bool = False, **changes):
    question = Question(**{"target_loss": 2.0, "memory_bytes": 10**7} | changes)
    return recommend(make_fit(), runs, question, measure=bytes_of, force=force)


GRID = [run(width, tokens) for width in range(32, 289, 32) for tokens in (250_000, 1_000_000, 4_000_000)]


# A failure is shown as it was found: shrinking three floats takes minutes and shows no more.
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(target=st.floats(1.5, 4.0), memory=st.integers(20_000, 900_000), probability=st.floats(0.1, 0.9))
def test_it_agrees_with_brute_force(target, memory, probability):
    fit, qualified = make_fit(), []
    for one in GRID:
        n, total = size_of(one.model, "n_params"), bytes_of(one.model).total_bytes
        chance = fit.probability(target, n, one.n_tokens, teacher="real")
        if total <= memory and chance >= probability:
            qualified.append((total, one.n_tokens, one.run_id))
    question = {"target_loss": target, "memory_bytes": memory, "probability": probability}
    if qualified:
        assert ask(GRID, **question).run.run_id == min(qualified)[2]
    else:
        with pytest.raises(InfeasibleError):
            ask(GRID, **question)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_the_order_of_the_candidates_does_not_matter(order):
    runs = [GRID[2], GRID[8], GRID[14], GRID[20]]
    assert ask([runs[i] for i in order]).run == ask(runs).run


def test_everything_smaller_than_the_choice_misses_the_target():
    found = ask(GRID)
    assert found.binding == "target"
    assert found.prediction.value <= found.question.target_loss
    smaller = [one for one in GRID if bytes_of(one.model).total_bytes < found.choice.footprint.total_bytes]
    losses = [LAW.loss(n=size_of(one.model, "n_params"), d=one.n_tokens) for one in smaller]
    assert min(losses) > found.question.target_loss


def test_more_probability_never_chooses_a_smaller_model():
    sizes = [ask(GRID, probability=p).footprint.total_bytes for p in (0.1, 0.5, 0.9)]
    assert sizes == sorted(sizes)


def test_a_target_below_the_floor_names_the_floor_and_the_best_within_the_memory():
    with pytest.raises(InfeasibleError, match="floor of real text is 1.4000") as caught:
        ask(GRID, target_loss=1.3)
    best = min(float(LAW.loss(n=size_of(one.model, "n_params"), d=one.n_tokens)) for one in GRID)
    assert caught.value.best_loss == pytest.approx(best)
    assert caught.value.floor == pytest.approx(1.4)
    assert caught.value.exit_code == 3


def test_a_memory_that_is_too_small_names_the_bytes_that_the_target_needs():
    needed = ask(GRID).choice.footprint.total_bytes
    with pytest.raises(InfeasibleError, match="would need") as caught:
        ask(GRID, memory_bytes=needed - 1)
    assert caught.value.needed_bytes == needed


def test_a_memory_that_holds_no_candidate_is_told_what_the_smallest_takes():
    with pytest.raises(InfeasibleError, match=r"the smallest takes .* raise the memory and the target, or offer"):
        ask(GRID, memory_bytes=1000, target_loss=1.42, probability=0.999)


def test_a_forecast_far_beyond_the_data_needs_force():
    far = [run(width=1024, tokens=4_000_000)]
    assert size_of(far[0].model, "n_params") > MAX_REACH * 4e5
    with pytest.raises(ExtrapolationError, match="--force"):
        ask(far, memory_bytes=10**9)
    assert ask(far, memory_bytes=10**9, force=True).run == far[0]


def test_text_far_beyond_the_data_needs_force_as_well():
    far = [run(width=64, tokens=int(4e6 * MAX_REACH * 1.1))]
    with pytest.raises(ExtrapolationError, match="11× beyond"):
        ask(far)
    assert ask(far, force=True).choice.reach == pytest.approx(1.1 * MAX_REACH)


def test_candidates_of_two_texts_are_refused():
    data = {"source": {"kind": "w0"}, "teacher": {"kind": "noise", "rate": 0.1}}
    noisy = run(64, 1_000_000).model_dump() | {"data": data}
    with pytest.raises(SpecError, match="one text — got noise 0.1, real"):
        ask([GRID[0], RunSpec.model_validate(noisy)])


def test_no_candidates_is_an_error_not_an_empty_answer():
    with pytest.raises(SpecError, match="no configuration to choose from"):
        ask([])


def test_a_fit_in_units_that_no_model_has_is_refused():
    with pytest.raises(SpecError, match="cannot be computed from a model"):
        size_of(GRID[0].model, "millions")


@pytest.mark.parametrize("value", [True, "1.8", float("inf"), float("nan"), 0])
@pytest.mark.parametrize("name", ["target_loss", "memory_bytes", "probability", "tokens"])
def test_a_question_is_asked_in_numbers(name, value):
    with pytest.raises(SpecError, match=f"{name}: got .*allowed is a"):
        Question(**{"target_loss": 1.8, "memory_bytes": 1 << 26, name: value})
