"""The recommendation is the smallest that qualifies, and an impossible question says why."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import scaling
from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.fit.evidence import Calibration, Member, Status
from scaling.fit.reach import MAX_REACH
from scaling.fit.result import Fit
from scaling.fit.solve.objective import Objective
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.forecast import from_fit
from scaling.predict.measurement import Measured
from scaling.predict.phones.footprint import Footprint
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import size_of
from scaling.predict.recommend.recommendation import Recommendation, recommend
from scaling.report.forecasts import show_comparison, show_explanation, show_forecast, show_solution
from scaling.report.recommendations import show_recommendation
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


def test_a_target_inside_the_interval_of_the_floor_is_not_out_of_reach():
    fit = make_fit()
    with pytest.raises(InfeasibleError) as caught:
        ask(GRID, target_loss=1.39)
    said, at_most = str(caught.value), fit.probability(1.39, math.inf, math.inf, force=True)
    floor = fit.floor()
    assert floor.low < 1.39 < floor.value
    assert "out of reach" not in said
    assert f"is 1.4000 (90%: {floor.low:.4f} – {floor.high:.4f}), so that even unlimited size and text" in said
    assert f"would meet it with P {at_most:.2f}" in said
    assert f"or larger widths and ask for a probability below {at_most:.2f}; larger runs would narrow the floor" in said


@pytest.mark.parametrize("target", [1.3, 1.36, 1.376, 1.38, 1.39, 1.4, 1.41])
def test_a_target_is_out_of_reach_just_where_the_floor_hardly_lets_it_be(target):
    with pytest.raises(InfeasibleError) as caught:
        ask(GRID, target_loss=target)
    hardly = make_fit().probability(target, math.inf, math.inf, force=True) < 0.05
    assert ("out of reach" in str(caught.value)) == hardly
    assert "(90%: " in str(caught.value)


def test_a_law_without_doubt_is_not_asked_for_its_floor_itself():
    with pytest.raises(InfeasibleError, match=r"out of reach: the floor of real text is 1\.6900;"):
        scaling.recommend("hoffmann-rounded", target_loss=1.69, memory_bytes="1GiB")


def test_a_floor_is_told_with_its_interval_wherever_it_is_told(capsys):
    found = ask(GRID)
    assert found.floor_low < found.floor < found.floor_high
    show_recommendation(found)
    assert f"is 1.4000 (90%: {found.floor_low:.4f} – {found.floor_high:.4f})" in capsys.readouterr().out
    again = Recommendation.from_values(found.to_json())
    assert (again.floor_low, again.floor_high, again.notes) == (found.floor_low, found.floor_high, found.notes)
    old = {name: value for name, value in found.to_json().items() if name not in ("floor_low", "floor_high", "notes")}
    assert Recommendation.from_values(old).floor_low is None


class Known:
    """The very run of one width and volume, as it was measured."""

    def __init__(self, loss: float, *, own: bool = True):
        self.measured = Measured(loss=loss, se=0.03, n_runs=1, own=own, scatter=0.01)

    def __getitem__(self, one: RunSpec) -> Measured | None:
        return self.measured if (one.model.width, one.tokens) == (96, 4_000_000) else None


@pytest.mark.parametrize(
    ("known", "is_told"), [(Known(1.99), True), (Known(1.9), False), (Known(1.99, own=False), False)]
)
def test_what_the_chance_of_a_measured_run_is_of_is_told_where_its_interval_holds_the_target(known, is_told, capsys):
    question = Question(target_loss=2.0, memory_bytes=10**7, probability=0.5)
    found = recommend(make_fit(), [run(96, 4_000_000)], question, measure=bytes_of, measured=known)
    show_recommendation(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert found.choice.measured.own == known.measured.own
    assert ("P of a measured run is of its loss on the held-out set that was measured" in printed) == is_told
    assert ("by the standard error of that set's" in printed) == is_told


ANSWERS = {
    "a forecast": (lambda fit: from_fit(fit, 1e5, 1e6), show_forecast),
    "an explanation": (lambda fit: scaling.explain(fit, 1e5, 1e6), show_explanation),
    "a solution": (lambda fit: scaling.solve(fit, flops=1e12), show_solution),
    "a comparison": (lambda fit: scaling.compare_models(fit, ["1e5:1e6"]), show_comparison),
    "a recommendation": (
        lambda fit: recommend(fit, GRID, Question(target_loss=2.0, memory_bytes=10**7), measure=bytes_of),
        show_recommendation,
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_says_where_its_intervals_rest_on_the_errors_inside_the_runs(answer, capsys):
    of, show = ANSWERS[answer]
    said = "its intervals rest on the errors inside the 12 runs (0 held-out forecasts)"
    show(of(make_fit()))
    assert said in " ".join(capsys.readouterr().out.split())
    tested = make_fit()
    tested = replace(tested, calibration=replace(tested.calibration, basis="held-out", n_scores=10))
    show(of(tested))
    assert "errors inside" not in capsys.readouterr().out


def test_a_published_law_has_no_runs_whose_errors_it_could_rest_on():
    assert scaling.recommend("besiroglu", target_loss=3.0, memory_bytes="1GiB").notes == ()


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
