"""A fit of texts of which none is real, or of which one teaches better than real text."""

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import SpecError
from scaling.fit.describe import summary
from scaling.fit.fitter import fit
from scaling.predict.explain.answer import explain
from scaling.predict.explain.comparison import compare_models
from scaling.report.forecasts import show_comparison, show_explanation


def fit_of(law="qm", **floors):
    """A fit of texts by their floors; that of N = 400k and D = 4M is measured."""
    rng = np.random.default_rng(0)
    rows = [
        (n, d, text, (floor + 9 * n**-0.35 + 300 * d**-0.5) * np.exp(0.001 * rng.standard_normal()))
        for text, floor in floors.items()
        for n in (1e5, 2e5, 4e5, 8e5)
        for d in (1e6, 2e6, 4e6)
    ]
    return fit(pd.DataFrame(rows, columns=["n_params", "n_tokens", "teacher", "loss"]), law=law, bootstrap=0)


@pytest.fixture(scope="module")
def of_two_texts():
    return fit_of(web=1.9, lessons=1.5)


@pytest.fixture(scope="module")
def with_a_better_text():
    return fit_of(real=1.9, lessons=1.5)


def test_an_explanation_speaks_of_the_text_that_is_read_alone(of_two_texts, capsys):
    found = explain(of_two_texts, 4e5, 4e6, teacher="web")
    show_explanation(found)
    printed = capsys.readouterr().out
    assert found.teacher is None
    assert found.floor + found.size_term + found.data_term == pytest.approx(found.loss)
    assert "on text of web" in printed
    assert "real text" not in printed
    # The table gives no standard error: none is said.
    assert "(one run, without a standard error)" in printed


def test_models_beside_each_other_are_told_in_terms_of_the_text_that_is_read(of_two_texts, capsys):
    found = compare_models(of_two_texts, ["400k:2M", "800k:4M"], teacher="web")
    show_comparison(found)
    printed = capsys.readouterr().out
    assert "students of text of web" in printed
    assert "real text" not in printed
    assert [row.real for row in found.rows] == pytest.approx([row.loss for row in found.rows], rel=0.01)


def test_a_fit_without_real_text_says_from_which_text_the_others_are_counted(of_two_texts):
    runs = of_two_texts.runs
    labels = np.array(list(of_two_texts.teachers))[runs.columns["teacher"].astype(int)]
    table = pd.DataFrame({"n_params": runs.columns["n"], "n_tokens": runs.columns["d"], "loss": runs.loss})
    found = fit(table.assign(teacher=labels), law="q1", bootstrap=0)
    assert any("no text of the table is 'real'" in note and "from lessons" in note for note in found.status.notes)
    # Their names may be longer than the column of short ones is wide.
    at = {
        line.index(f"{found.params[name]:.6g}")
        for name in found.params
        for line in summary(found).splitlines()
        if line.strip().startswith(f"{name} ")
    }
    assert len(at) == 1


def test_a_fit_of_a_foreign_table_is_told_the_way_on_from_a_recommendation(of_two_texts):
    with pytest.raises(SpecError, match="scaling footprint --params"):
        scaling.recommend(of_two_texts, target_loss=2.0, device="mid-8gb")


def test_a_result_without_a_sentence_of_its_own_is_printed_as_its_table(of_two_texts):
    found = scaling.invert(of_two_texts, [2.2, 2.3], d=4e6, teacher="web")
    assert str(found).split()[0] == "what"
    assert len(str(found).splitlines()) == 3


def test_a_text_that_teaches_better_than_real_text_is_not_told_as_one_with_errors(with_a_better_text, capsys):
    found = explain(with_a_better_text, 4e5, 4e6, teacher="lessons")
    show_explanation(found)
    printed = capsys.readouterr().out
    assert found.loss < found.floor
    assert "below E: it teaches better" in " ".join(printed.split()), "wherever its lines are broken"
    assert "bottleneck" not in printed
    assert "additive bound" not in printed
    assert "this is the floor" not in printed


def test_a_target_below_the_floor_of_real_text_is_met_by_a_text_that_teaches_better(with_a_better_text):
    (found, *_) = scaling.solve(with_a_better_text, target_loss=1.8, d=4e6, teacher="lessons").trainings
    assert found.n_params == pytest.approx((9 / (1.8 - 1.5 - 300 * 4e6**-0.5)) ** (1 / 0.35), rel=0.2)
    with pytest.raises(SpecError, match="which nothing passes"):
        scaling.solve(with_a_better_text, target_loss=1.4, d=4e6, teacher="lessons")
    with pytest.raises(SpecError, match="which nothing passes"):
        scaling.solve(with_a_better_text, target_loss=1.8, d=4e6)


def test_a_fit_of_one_text_answers_for_that_text_by_its_name():
    alone = fit_of("chinchilla", web=1.9)
    assert explain(alone, 4e5, 4e6).text == "text of web"
    assert scaling.solve(alone, target_loss=2.2, d=4e6).text == "text of web"
    assert compare_models(alone, ["400k:2M"]).text == "text of web"
    assert explain(fit_of("chinchilla", real=1.9), 4e5, 4e6).text == "real text"
