"""A forecast taken apart: terms add up, gains are differences, bounds hold, and a fit answers within what it knows."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.fit.fitter import fit
from scaling.laws.batch import CriticalBatch
from scaling.laws.presets import preset
from scaling.predict.ask import forecast
from scaling.predict.explain.answer import explain, solve
from scaling.predict.explain.asked import asked_of
from scaling.predict.explain.basis import at, published
from scaling.predict.explain.comparison import compare_models
from scaling.predict.explain.explanation import gain_of_compute
from scaling.predict.explain.teacher import SHARPNESS, TeacherAsked, best_teacher, bottleneck, sharpness_of
from scaling.predict.forecast import from_fit, from_preset
from scaling.report.forecasts import show_comparison, show_explanation

TERMS = ("floor", "size_term", "data_term", "precision_term", "teacher_term", "runs_term")


@pytest.fixture(scope="module")
def runs():
    """Of floor and effective data, kappa = c = 1, with real text and two teachers of noise."""
    rng = np.random.default_rng(0)
    rows = [
        {"n_params": n, "n_tokens": d, "teacher": label, "delta_noise": noise, "delta_coverage": 0.0, "status": "done"}
        for n in (1e5, 2e5, 4e5, 8e5)
        for d in (1e6, 2e6, 4e6, 8e6)
        for label, noise in (("real", 0.0), ("noise 0.1", 0.1), ("noise 0.3", 0.3))
    ]
    runs = pd.DataFrame(rows)
    fewer = runs.n_tokens * np.exp(-runs.delta_noise)
    law = 1.4 + runs.delta_noise + 9 * runs.n_params**-0.35 + 300 * fewer**-0.5
    runs["loss"] = law * np.exp(0.001 * rng.standard_normal(len(runs)))
    return runs


@pytest.fixture(scope="module")
def of_teachers(runs):
    """A fit of floor and effective data, kappa = c = 1, with real text and two teachers of noise."""
    return fit(runs, law="q1q2")


@settings(max_examples=25, deadline=None)
@given(
    n=st.floats(1e7, 1e12),
    d=st.one_of(st.floats(1e8, 1e14), st.just(math.inf)),
    law=st.sampled_from(["hoffmann", "besiroglu"]),
    teacher=st.sampled_from([None, "palm", "gpt-3"]),
)
def test_the_terms_add_up_to_the_loss(n, d, law, teacher):
    found = explain(law, n, d, teacher=teacher)
    of_student = found.floor + found.size_term + found.data_term
    assert of_student + found.precision_term + found.teacher_term == pytest.approx(found.loss, rel=1e-12)
    assert found.precision_term == 0
    terms = {"capacity": found.size_term, "data": found.data_term, "teacher": found.teacher_term}
    assert terms[found.binds] == max(terms.values())


@settings(max_examples=25, deadline=None)
@given(n=st.floats(1e6, 1e13), d=st.floats(1e8, 1e14), delta=st.floats(0.01, 1.0))
def test_the_bottleneck_lies_between_the_larger_term_and_the_additive_bound(n, d, delta):
    floor = published("hoffmann").floor
    found = explain("hoffmann", n, d, teacher=TeacherAsked(loss=floor + delta))
    excess = found.size_term + found.data_term
    assert max(excess, delta) - 1e-12 <= found.bottleneck - floor <= excess + delta + 1e-12
    assert found.additive_bound - floor == pytest.approx(excess + delta)
    assert (found.low, found.high) == (found.bottleneck, found.additive_bound)


def test_gains_are_what_doubling_takes_off():
    law, found = preset("besiroglu").law, explain("besiroglu", 1e9, 2e10)
    here = law.loss(n=1e9, d=2e10)
    assert found.gain_of_n == pytest.approx(here - law.loss(n=2e9, d=2e10))
    assert found.gain_of_d == pytest.approx(here - law.loss(n=1e9, d=4e10))
    assert max(found.gain_of_n, found.gain_of_d) <= found.gain_of_c < found.gain_of_n + found.gain_of_d


def test_twice_the_compute_is_split_as_the_closed_form_says():
    law = preset("besiroglu").law
    split = np.linspace(0, 1, 100_001)
    best = law.loss(n=3e9 * 2**split, d=1e10 * 2 ** (1 - split)).min()
    found = gain_of_compute(lambda n, d: law.loss(n=n, d=d), 3e9, 1e10)
    assert found == pytest.approx(float(law.loss(n=3e9, d=1e10) - best), rel=1e-3)


def test_unlimited_data_has_no_gain_of_data_and_none_of_compute():
    found = explain("hoffmann", 1e8, math.inf)
    assert (found.gain_of_d, found.gain_of_c, found.data_term) == (0.0, None, 0.0)


def test_the_tokens_to_the_asymptote_are_those_of_the_seed_question():
    assert explain("besiroglu", 110e6).tokens_to_asymptote == pytest.approx(4.3e12, rel=0.02)
    assert explain("hoffmann", 110e6).tokens_to_asymptote == pytest.approx(5.5e13, rel=0.02)


def test_steps_are_those_of_the_critical_batch():
    batch = CriticalBatch(B_star=2e8, alpha_B=0.21)
    found = explain("hoffmann", 1e9, 2e10, batch="kaplan-batch")
    critical = float(batch.tokens(found.loss))
    assert found.equal.critical_batch_tokens == pytest.approx(critical)
    assert found.equal.steps * critical == pytest.approx(2 * found.equal.n_tokens)
    assert explain("hoffmann", 1e9, 2e10).equal.steps is None


def test_a_critical_batch_that_a_sweep_measured_is_told_by_its_numbers():
    measured = explain("hoffmann", 1e9, 2e10, batch="B_star=2e8,alpha_B=0.21")
    assert measured == explain("hoffmann", 1e9, 2e10, batch="kaplan-batch")
    for wrong in ("B_star=2e8", "B_star=many,alpha_B=.2", "B=1,alpha_B=.2"):
        with pytest.raises(SpecError, match="a name or numbers"):
            explain("hoffmann", 1e9, 2e10, batch=wrong)
    with pytest.raises(SpecError, match="no critical batch"):
        explain("hoffmann", 1e9, 2e10, batch="besiroglu")


def test_bits_are_nats_by_the_logarithm_of_two_and_the_bytes_of_a_token():
    found = explain("hoffmann", 1e9, 2e10, bytes_per_token=4.0)
    assert found.bits_per_token == pytest.approx(found.loss / math.log(2))
    assert found.bits_per_byte == pytest.approx(found.bits_per_token / 4)


def test_a_better_teacher_can_be_a_worse_one_under_a_law_with_a_capacity_gap():
    basis = published("busbridge")
    loss, gives = best_teacher(basis, 110e6, math.inf)
    assert loss == pytest.approx(2.31, abs=0.01)
    for other in (0.9 * loss, 1.1 * loss):
        assert explain("busbridge", 110e6, teacher=TeacherAsked(loss=other)).loss > gives
    assert best_teacher(published("hoffmann"), 110e6, math.inf) is None


def test_a_law_of_more_columns_is_asked_with_them():
    exact = explain("muennighoff", 8.67e9, 178e9, columns={"n_unique_tokens": 25e9})
    assert exact.loss == pytest.approx(2.2269634075087867)
    with pytest.raises(SpecError, match="--at bits_weights="):
        explain("kumar", 1e8, 1e9)
    with pytest.raises(SpecError, match="not of bits"):
        explain("hoffmann", 1e8, 1e9, columns={"bits": 4.0})


def test_few_bits_are_a_term_of_their_own():
    bits = {"bits_weights": math.inf, "bits_activations": math.inf, "bits_cache": math.inf}
    found = explain("kumar", 1e8, 2e9, columns=bits | {"bits": 4.0})
    damage = preset("kumar-damage").law.loss(n=1e8, d=2e9, bits=4.0)
    assert found.precision_term == pytest.approx(float(damage))
    assert found.floor == pytest.approx(2.7648)
    assert found.floor + found.size_term + found.data_term + found.precision_term == pytest.approx(found.loss)
    assert explain("kumar", 1e8, 2e9, columns=bits | {"bits": 1.0}).binds == "precision"


@pytest.mark.parametrize("name", ["kumar-damage", "ouyang-damage"])
def test_a_law_of_what_is_added_to_a_loss_is_not_taken_for_one_of_loss(name):
    with pytest.raises(SpecError, match="adds to a loss"):
        published(name, {"bits": 4.0})
    assert f"{name!r}).law.loss(n=…, d=…, bits=…)" in str(pytest.raises(SpecError, from_preset, name, 1e8, 1e9).value)


def test_a_law_of_size_alone_has_no_training_that_equals_another():
    found = explain("kaplan-n", 1e9)
    assert found.loss == pytest.approx(8.8e4**0.076)
    assert math.isnan(found.equal.n_params)
    assert math.isnan(found.tokens_to_asymptote)


def test_a_teacher_of_a_fit_is_explained_by_the_fits_own_form(of_teachers):
    found = explain(of_teachers, 4e5, 4e6, teacher="noise 0.3")
    # This very student was measured: the law is told beside it.
    assert found.measured.loss == pytest.approx(of_teachers.predict(4e5, 4e6, teacher="noise 0.3").value)
    assert found.loss == pytest.approx(of_teachers.loss(4e5, 4e6, teacher="noise 0.3"))
    assert found.low < found.loss < found.high
    assert found.teacher.delta == pytest.approx(0.3, abs=0.03)
    assert found.teacher_term > found.teacher.delta  # it costs data as well
    assert 0 < found.error < 0.05


@pytest.mark.parametrize(("n", "d"), [(3e5, 3e6), (4e5, 4e6), (4e5, math.inf)])
@pytest.mark.parametrize("teacher", [None, "real", "noise 0.3"])
def test_a_forecast_and_its_explanation_have_the_same_terms_which_add_up(of_teachers, n, d, teacher):
    plain, taken_apart = from_fit(of_teachers, n, d, teacher=teacher), explain(of_teachers, n, d, teacher=teacher)
    shared = {field.name for field in fields(plain)} & {field.name for field in fields(taken_apart)} - {"reach"}
    assert {"loss", "low", "high", "floor", "data_term", "teacher_term", "runs_term", "basis", "measured"} <= shared
    assert {name: getattr(plain, name) for name in shared} == {name: getattr(taken_apart, name) for name in shared}
    assert sum(getattr(plain, name) for name in TERMS) == pytest.approx(plain.loss, rel=1e-12)
    assert (plain.measured is not None) == (plain.basis == "measured") == ((n, d) == (4e5, 4e6))
    assert (plain.teacher_term > 0.2) == (teacher == "noise 0.3")


def test_a_teacher_by_its_loss_is_the_fits_teacher_of_that_loss(of_teachers):
    floor = explain(of_teachers, 4e5, 4e6).floor
    by_loss = explain(of_teachers, 4e5, 4e6, teacher=TeacherAsked(loss=floor + 0.3))
    assert by_loss.loss == pytest.approx(of_teachers.loss(4e5, 4e6, delta_noise=0.3))


@pytest.fixture(scope="module")
def of_real_text(runs):
    """A fit whose law has no divergences."""
    return fit(runs[runs.teacher == "real"], law="chinchilla", bootstrap=50)


def test_every_answer_counts_a_teachers_error_where_the_law_has_no_divergences(of_real_text):
    who = TeacherAsked(loss=of_real_text.params["E"] + 0.5)
    told, alone = forecast(of_real_text, 3e5, 3e6, teacher=who), forecast(of_real_text, 3e5, 3e6)
    # At most the whole error is learned; at least the student does not reach what the teacher lacks.
    assert [told.value - alone.value, told.high - alone.high] == pytest.approx([0.5] * 2)
    floor = of_real_text.params["E"]
    assert told.low == pytest.approx(floor + ((alone.low - floor) ** 5 + 0.5**5) ** 0.2)
    taken_apart = explain(of_real_text, 3e5, 3e6, teacher=who)
    assert (taken_apart.loss, taken_apart.low, taken_apart.high) == pytest.approx((told.value, told.low, told.high))
    for answer in solve(of_real_text, target_loss=told.value, teacher=who).trainings:
        assert answer.low < answer.loss < answer.high
    # Half a nat above real text, it is not as good as a student of real text of a fifth of its size.
    rows = compare_models(of_real_text, ["4e5:8e6"], teacher=who, as_good_as="1e5:2e6").rows
    assert [row.verdict.answer for row in rows] == ["no"]


def test_a_fits_own_sharpness_is_that_of_its_bottleneck(runs, of_real_text):
    sharp = fit(runs, law="q5", strict=False, bootstrap=0)
    nu = 20.0
    member = replace(sharp.members[0], law=sharp.law.with_values({**sharp.law.values, "nu": nu}))
    basis = asked_of(replace(sharp, members=(member,))).basis
    who = TeacherAsked(loss=basis.floor + 0.5).on(basis)
    excess = basis.loss(3e5, 3e6) - basis.floor
    expected = basis.floor + (excess**nu + 0.5**nu) ** (1 / nu)
    assert at(bottleneck(basis, who), 3e5, 3e6) == pytest.approx(expected)
    assert sharpness_of(asked_of(of_real_text).basis) == SHARPNESS


def test_a_loss_inside_the_interval_of_where_a_fit_ends_is_refused_with_that_interval(of_teachers):
    end = of_teachers.predict(math.inf, 4e6, given="law", force=True)
    with pytest.raises(InfeasibleError, match=r"only — .* 90% lie in .* and P\(loss ≤ .*\) is 0\.[1-4]\d: larger"):
        solve(of_teachers, target_loss=(end.value + end.low) / 2, d=4e6)
    with pytest.raises(InfeasibleError) as caught:
        solve(of_teachers, target_loss=end.low - 0.01, d=4e6)
    assert "lie in" not in str(caught.value)


def test_the_limit_of_a_law_is_never_called_the_loss_of_a_teacher(of_teachers, capsys):
    found = explain(of_teachers, 4e5, 4e6, teacher="noise 0.3")
    assert found.teacher.loss_from == "limit"
    show_explanation(found)
    table = compare_models(of_teachers, ["4e5:4e6"], teacher="noise 0.3")
    show_comparison(table)
    printed = " ".join(capsys.readouterr().out.split())
    assert "its loss on real text is not in the table; students of unlimited text of it end at 1.7" in printed
    assert "own loss on real text is" not in printed
    assert (table.teacher_losses, set(table.teacher_limits)) == ({}, {"fit"})


def test_a_run_of_real_text_is_no_measurement_of_a_teachers_student(of_real_text):
    who = TeacherAsked(loss=of_real_text.params["E"] + 0.5)
    assert forecast(of_real_text, 2e5, 4e6).basis == "measured"
    assert forecast(of_real_text, 2e5, 4e6, teacher=who).basis.endswith("nearby")
    assert explain(of_real_text, 2e5, 4e6, teacher=who).measured is None
    shape = forecast(of_real_text, [1e5, 2e5], [[2e6], [3e6], [8e6]], teacher=who).value.shape
    assert shape == (3, 2)


def test_a_fit_refuses_what_its_runs_cannot_say(of_teachers):
    with pytest.raises(ExtrapolationError, match="beyond the runs"):
        explain(of_teachers, 1e8, 4e6)
    assert explain(of_teachers, 1e8, 4e6, force=True).reach["n"] == pytest.approx(125)
    with pytest.raises(ExtrapolationError, match="the teacher"):
        asked_of(of_teachers, teacher="palm")


def test_an_unknown_teacher_is_refused_with_the_nearest_name(of_teachers):
    with pytest.raises(SpecError, match="did you mean 'noise 0.1'"):
        asked_of(of_teachers, teacher="noise 0.11")
    with pytest.raises(SpecError, match="did you mean 'palm'"):
        asked_of("hoffmann", teacher="plam")


def test_a_teacher_of_a_fit_may_be_named_by_its_beginning_where_only_one_begins_so(of_teachers):
    one = replace(of_teachers, teachers={name: of_teachers.teachers[name] for name in ("real", "noise 0.3")})
    assert asked_of(one, teacher="noise").own_text == "noise 0.3"
    with pytest.raises(SpecError, match="unknown teacher 'noise'"):
        asked_of(of_teachers, teacher="noise")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"name": "palm", "loss": 2.0},
        {"n_params": 1e9},
        {"n_tokens": 1e9},
        {"n_params": 1e9, "n_tokens": 1e9, "loss": 2.0},
    ],
)
def test_a_teacher_is_told_in_one_way(said):
    with pytest.raises(SpecError, match="give one of the three"):
        TeacherAsked(**said)


def test_a_teacher_below_the_floor_or_of_a_law_without_one_is_refused():
    with pytest.raises(SpecError, match="below the floor"):
        explain("hoffmann", 1e9, teacher=TeacherAsked(loss=1.5))
    with pytest.raises(SpecError, match="scaling trends"):
        explain("kaplan", 1e9, teacher="palm")


def test_a_rule_for_a_setting_is_no_law_of_loss():
    with pytest.raises(SpecError, match="gives no loss"):
        published("deepseek-lr")


def test_a_fit_of_compute_alone_says_nothing_of_size():
    only_compute = SimpleNamespace(law=SimpleNamespace(columns=("c",)))
    from scaling.predict.explain.basis import of_fit

    with pytest.raises(SpecError, match="nothing of size or data"):
        of_fit(only_compute)


def test_a_fit_of_bits_of_a_byte_says_so_wherever_it_answers(capsys):
    from scaling.fit.describe import summary
    from scaling.report.forecasts import show_explanation, show_forecast

    law = preset("besiroglu").law
    runs = pd.DataFrame([(n, d) for n in (1e6, 4e6, 16e6) for d in (1e7, 4e7, 16e7)], columns=["n_params", "n_tokens"])
    runs["bits_per_byte"] = law.loss(n=runs["n_params"].to_numpy(), d=runs["n_tokens"].to_numpy()) / 3
    found = fit(runs, law="chinchilla", loss="bits_per_byte", bootstrap=0, strict=False)
    assert found.frame().set_index("coefficient").loc["E", "unit"] == "bits/byte"
    assert not [note for note in found.status.notes if "seems" in note]
    told = explain(found, 2e6, 2e7, force=True)
    assert (told.bits_per_byte, told.bits_per_token) == (told.loss, None)
    assert explain(found, 2e6, 2e7, bytes_per_token=3, force=True).bits_per_token == pytest.approx(3 * told.loss)
    show_explanation(told)
    show_forecast(from_fit(found, 2e6, 2e7, force=True))
    said = capsys.readouterr().out + summary(found)
    assert "bits/byte" in said
    assert "nats/token" not in said
