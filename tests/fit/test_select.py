"""The text that others are told by: real text, or one that teaches better."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, SpecError
from scaling.fit.describe import summary
from scaling.fit.fitter import fit
from scaling.fit.saved.files import load, save
from scaling.fit.select import best_text, candidate_forms, choose, compare, eligible, free_divergences, idle
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.explain.answer import explain
from scaling.predict.forecast import from_fit
from scaling.tables.observe import observe

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)
COLUMNS = {"n": "n_params", "d": "n_tokens"}
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def texts(floors, seed=0, noise=0.004):
    """A grid of runs on each text, whose loss ends that much above the law's."""
    rng = np.random.default_rng(seed)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    parts = []
    for text, floor in floors.items():
        loss = (TRUTH.loss(n=n, d=d) + floor) * np.exp(rng.normal(0, noise, n.size))
        parts.append(pd.DataFrame({"n_params": n, "n_tokens": d, "teacher": text, "loss": loss}))
    return pd.concat(parts, ignore_index=True)


def at(text, n=1e10, d=1e12, floor=0.0):
    return pytest.approx(float(TRUTH.loss(n=n, d=d)) + floor, rel=0.01)


@pytest.fixture(scope="module")
def better():
    """A fit of a text that teaches better than real text, and of one that teaches worse."""
    return fit(texts({"real": 0.0, "better": -0.1, "worse": 0.3}), bootstrap=20)


def test_a_text_that_teaches_better_than_real_text_is_the_one_that_others_are_told_by(better):
    assert better.success
    assert better.law.names[-2:] == ("delta[real]", "delta[worse]")
    assert better.predict(1e10, 1e12, teacher="better", force=True).value == at("better", floor=-0.1)
    assert better.predict(1e10, 1e12, force=True).value == at("real")
    assert better.predict(1e10, 1e12, teacher="worse", force=True).value == at("worse", floor=0.3)
    assert "free divergences are from better, which teaches better than real" in better.status.notes


def test_a_saved_fit_knows_which_text_the_others_are_told_by(better, tmp_path):
    save(better, tmp_path / "fit.json")
    found = load(tmp_path / "fit.json")
    assert found.law == better.law
    for text in ("real", "better", "worse"):
        asked = {"teacher": text, "force": True}
        again, first = found.predict(1e10, 1e12, **asked), better.predict(1e10, 1e12, **asked)
        assert (again.value, again.scale) == pytest.approx((first.value, first.scale))


def test_real_text_stays_the_reference_where_another_is_better_by_chance_alone():
    for seed in range(6):
        data = observe(texts({"real": 0.0, "as good": 0.0, "worse": 0.3}, seed), columns=COLUMNS)
        assert best_text(data) == 0
        assert free_divergences(data) == {"teachers": ["as good", "worse"]}


def test_a_text_as_good_as_the_best_costs_no_form_and_is_noted():
    runs = texts({"real": 0.0, "worse": 0.3})
    twin = runs[runs["teacher"] == "real"].assign(teacher="as good")
    twin["loss"] *= 1 - 5e-4  # better than real text, by less than shows
    found = fit(pd.concat([runs, twin], ignore_index=True), law="q1", bootstrap=0)
    assert found.params["delta[as good]"] == 0
    assert found.success
    assert "delta[as good] ended at zero: these texts teach as well as the best" in found.status.notes
    assert idle(("c", "delta[as good]")) == ["c"]


def test_a_text_that_is_better_by_twice_the_scatter_of_a_run_is_told_from_real_text():
    for seed in range(3):
        data = observe(texts({"real": 0.0, "better": -0.02, "worse": 0.3}, seed), columns=COLUMNS)
        assert best_text(data) == 1


def test_whoever_holds_the_entropy_or_a_divergence_holds_that_of_real_text():
    data = observe(texts({"real": 0.0, "better": -0.1, "worse": 0.3}), columns=COLUMNS)
    for held in ({"E": 1.7}, {"delta[worse]": 0.3}):
        assert free_divergences(data, held) == {"teachers": ["better", "worse"]}
    assert free_divergences(data, {"beta": 0.36})["reference"] == 1


def test_an_entropy_that_is_held_is_that_of_real_text_though_no_run_read_it():
    found = fit(texts({"a": 0.1, "b": 0.3}), law="q1", held={"E": TRUTH.E}, bootstrap=0)
    assert found.success
    assert (found.params["delta[a]"], found.params["delta[b]"]) == pytest.approx((0.1, 0.3), abs=0.03)


def test_a_coefficient_is_held_in_the_forms_that_have_it():
    data = observe(texts({"real": 0.0, "worse": 0.3}), columns=COLUMNS)
    assert [form.name for form in candidate_forms(data, held={"delta[worse]": 0.3})] == ["q1", "q2", "q1q2", "q5", "q8"]
    assert [form.name for form in candidate_forms(data, held={"nu": 1.0})] == ["q5"]
    with pytest.raises(SpecError, match=r"cannot hold 'zz': the coefficients are A, .*delta\[worse\], nu"):
        fit(texts({"real": 0.0, "worse": 0.3}), held={"zz": 1.0})


def test_the_best_text_is_found_where_it_was_read_at_other_sizes():
    runs = texts({"real": 0.0, "better": -0.1})
    small = (runs["n_params"] < 1e7) & (runs["n_tokens"] < 1e10)
    apart = runs[small == (runs["teacher"] == "better")]
    assert apart.groupby("teacher")["loss"].mean().idxmin() == "real", "its students are small"
    assert best_text(observe(apart.reset_index(drop=True), columns=COLUMNS)) == 1


def test_the_best_text_is_found_of_losses_below_zero():
    runs = texts({"real": 0.0, "better": -0.1}).assign(loss=lambda runs: runs["loss"] - 2.0)
    assert best_text(observe(runs, columns=COLUMNS, positive=False)) == 1


def test_a_text_without_runs_is_not_the_best():
    data = observe(texts({"real": 0.0, "better": -0.1}), columns=COLUMNS)
    alone = data.select(data.teacher == 0)
    assert best_text(replace(alone, teachers=("real", "better"))) == 0


def test_without_real_text_each_text_is_told_by_itself_and_one_has_to_be_named():
    found = fit(texts({"b": 0.1, "a": 0.3}), bootstrap=0)
    with pytest.raises(SpecError, match=r"no run of this fit read real text: name one of its texts, a, b"):
        found.predict(1e9, 1e11)
    with pytest.raises(SpecError, match="no run of this fit read real text"):
        found.predict(1e9, 1e11, teacher="real")
    for told in (from_fit(found, 1e9, 1e11, teacher="a"), explain(found, 1e9, 1e11, teacher="a")):
        assert told.teacher_term == 0
        assert told.floor == pytest.approx(TRUTH.E + 0.3, rel=0.02)
        assert told.loss == at("a", 1e9, 1e11, floor=0.3)


def test_a_divergence_is_not_ignored_where_the_laws_do_not_read_it(better):
    for asked in ({"delta_noise": 0.2}, {"teacher": "worse", "delta_coverage": 0.2}):
        with pytest.raises(SpecError, match="tell texts by their runs, not by delta_noise .* real, better, worse"):
            better.predict(1e9, 1e11, **asked)


def test_too_few_runs_are_told_how_many_are_missing():
    runs = texts({"real": 0.0, "worse": 0.3}).iloc[20:27].reset_index(drop=True)
    with pytest.raises(FitError, match="7 runs are too few for any of q0, .*: add at least 1, or name a law"):
        fit(runs, bootstrap=0)
    assert fit(runs, law="tied", bootstrap=0, strict=False).n_runs == 7


def test_a_reference_is_one_of_the_texts():
    law = named_law("q1", teachers=["real", "c"], reference=1)
    with_values = law.with_values({**TRUTH.values, "delta[real]": 0.2, "delta[c]": 0.4})
    loss = with_values.loss(n=np.full(3, 1e9), d=np.full(3, 1e11), teacher=np.arange(3.0))
    np.testing.assert_allclose(loss - loss[1], [0.2, 0.0, 0.4])
    with pytest.raises(SpecError, match="reference 3 is not the code of one of 3 texts"):
        named_law("q1", teachers=["real", "c"], reference=3)


@pytest.fixture(scope="module")
def uneven():
    """A fit of texts of known divergences, each of which lies off the law by some per cent of its own."""
    law = named_law("q1").with_values({**TRUTH.values, "kappa": 1.0})
    off = {"a": 0.02, "b": -0.025, "c": 0.03, "d": -0.02, "e": 0.025, "f": -0.03}
    parts = [texts({"real": 0.0}).assign(delta_noise=0.0, delta_coverage=0.0)]
    for i, (text, own) in enumerate(off.items(), start=1):
        part = texts({text: 0.0}, seed=i).assign(delta_noise=0.1 * i, delta_coverage=0.0)
        said = law.loss(n=part.n_params, d=part.n_tokens, delta_noise=0.1 * i, delta_coverage=0.0)
        noise = part["loss"] / TRUTH.loss(n=part.n_params, d=part.n_tokens)
        parts.append(part.assign(loss=said * noise * np.exp(own)))
    return fit(pd.concat(parts, ignore_index=True), bootstrap=0, strict=False)


def test_a_text_without_runs_is_forecast_with_the_doubt_of_texts_that_were_left_out(uneven):
    chosen = next(row for row in uneven.selection if row["law"] == uneven.law.label)
    assert uneven.calibration.unseen == pytest.approx((chosen["teacher_out"] ** 2 - chosen["rms"] ** 2) ** 0.5)
    assert uneven.calibration.unseen > 0.005
    assert f"a text without runs lies off the law by {uneven.calibration.unseen:.2%} more" in summary(uneven)
    new = uneven.predict(1e8, 1e10, delta_noise=0.35, given="law")
    known = replace(uneven, calibration=replace(uneven.calibration, unseen=0.0)).predict(
        1e8, 1e10, delta_noise=0.35, given="law"
    )
    assert new.value == known.value
    assert new.scale > known.scale


@pytest.mark.slow
def test_two_teachers_are_too_few_to_leave_one_out():
    runs = pd.read_csv(REFERENCE / "quickstart.csv")
    assert fit(runs, bootstrap=0).calibration.unseen == 0


def test_a_text_is_known_by_its_label_and_by_its_divergences_as_people_write_them(uneven):
    asked = [{"teacher": "c"}, {"delta_noise": 0.3}, {"delta_noise": 0.3004}, {"delta_noise": 0.33}, {}]
    unseen = [bool(np.any(uneven.points(1e8, 1e10, **text).unseen)) for text in asked]
    assert unseen == [False, False, False, True, False]
    both = uneven.points(1e8, 1e10, delta_noise=np.array([0.3, 0.33]))
    np.testing.assert_array_equal(both.unseen, [False, True])


def test_a_saved_fit_keeps_the_doubt_of_a_text_without_runs(uneven, tmp_path):
    save(uneven, tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").calibration.unseen == uneven.calibration.unseen


@pytest.mark.slow
def test_documents_of_two_kinds_have_a_form_of_their_own():
    runs = pd.read_csv(REFERENCE / "mixture.csv")
    found = fit(runs, bootstrap=0)
    assert {member.law.label for member in found.members} == {"mixture"}, "it stands on no second base"
    others = {row["law"]: row["rms"] for row in found.selection}
    assert others["mixture"] < 0.5 * min(rms for law, rms in others.items() if law != "mixture")
    largest = runs[(runs["n_params"] == runs["n_params"].max()) & (runs["n_tokens"] == runs["n_tokens"].max())]
    for text, own in largest.groupby("teacher"):
        said = found.predict(own["n_params"].iloc[0], own["n_tokens"].iloc[0], teacher=text, given="law")
        assert said.low < own["loss"].mean() < said.high
    without = fit(runs[~runs["real_share"].between(0.001, 0.999)], law="auto", bootstrap=0, strict=False)
    assert "mixture" not in {row["law"] for row in without.selection}


def test_several_numbers_a_text_are_given_only_where_they_lead_by_far():
    data = observe(texts({"real": 0.0, "worse": 0.3}), columns=COLUMNS)
    found = compare(data, candidate_forms(data))
    others = min(one.aicc for one in found if one.law.name != "q8")
    for lead, leads in ((-5.0, False), (15.0, False), (25.0, True)):
        moved = [replace(one, aicc=others - lead) if one.law.name == "q8" else one for one in found]
        assert (choose(sorted(moved, key=lambda one: one.aicc)).law.name == "q8") == leads
        assert ("q8" in [one.law.name for one in eligible(moved)]) == leads
