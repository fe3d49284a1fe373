"""A teacher of whom a fit knows the loss alone, or of whose text it knows more: what each may be called."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitter import fit
from scaling.predict.ask import forecast
from scaling.predict.explain.answer import explain, solve
from scaling.predict.explain.comparison import compare_models
from scaling.predict.explain.teacher import TeacherAsked
from scaling.report.forecasts import show_comparison, show_explanation, show_solution


@pytest.fixture(scope="module")
def of_labels():
    """A fit that tells texts by label: the one teacher, of loss 1.55, lacks what is rare, which no student has met."""
    rng = np.random.default_rng(1)
    rows = [
        {"n_params": n, "n_tokens": d, "teacher": label, "teacher_loss": own, "delta": max(0.0, own - 1.4)}
        for n in (1e5, 2e5, 4e5, 8e5)
        for d in (1e6, 2e6, 4e6, 8e6)
        for label, own in (("real", 0.0), ("trained 1", 1.55))
    ]
    runs = pd.DataFrame(rows)
    excess = 9 * runs.n_params**-0.35 + 300 * runs.n_tokens**-0.5
    law = 1.4 + (excess**12 + runs.pop("delta") ** 12) ** (1 / 12)
    return fit(runs.assign(loss=law * np.exp(0.001 * rng.standard_normal(len(runs)))), law="q1", bootstrap=0)


def test_a_teacher_by_its_loss_of_a_fit_of_labels_has_bounds_and_no_interval(of_labels, capsys):
    who = TeacherAsked(loss=1.548)
    found, own = explain(of_labels, 3e5, 3e6, teacher=who), explain(of_labels, 3e5, 3e6, teacher="trained 1")
    assert (found.level, found.error) == (None, None)
    # What students of such a teacher come to lies between; about the additive bound alone it did not.
    assert found.low < own.loss < found.high - 0.1
    assert found.high == pytest.approx(explain(of_labels, 3e5, 3e6).high + found.teacher.delta)
    show_explanation(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "(bottleneck, additive bound)" in printed
    assert "at 90%" not in printed


def test_every_answer_of_such_a_teacher_has_the_same_bounds_and_names_the_text_that_knows_better(of_labels, capsys):
    who = TeacherAsked(loss=1.548)
    found = explain(of_labels, 3e5, 3e6, teacher=who)
    solved = solve(of_labels, target_loss=found.loss, d=3e6, teacher=who)
    table = compare_models(of_labels, ["3e5:3e6"], teacher=who, as_good_as="2e5:2e6")
    told = forecast(of_labels, 3e5, 3e6, teacher=who)
    assert [solved.level, table.level, table.rows[0].verdict.probability] == [None] * 3
    assert table.rows[0].verdict.answer == "open"
    ends = [(one.low, one.high) for one in (*solved.trainings, *table.rows, told)]
    assert np.array(ends) == pytest.approx(np.tile([found.low, found.high], (3, 1)), abs=0.003)
    assert "% of such runs" not in str(told)
    drawn = forecast(of_labels, [2e5, 3e5], 3e6, teacher=who).plot()
    labels = drawn.get_legend_handles_labels()[1]
    assert "bottleneck to additive bound" in labels
    assert not any("%" in label for label in labels)
    for answer, show in ((found, show_explanation), (solved, show_solution), (table, show_comparison)):
        show(answer)
        printed = " ".join(capsys.readouterr().out.split())
        assert "90%" not in printed
        assert "a teacher of loss 1.5500: --teacher 'trained 1'" in printed
    far = explain(of_labels, 3e5, 3e6, teacher=TeacherAsked(loss=1.8))
    assert not any("--teacher" in note for note in far.notes)


def test_a_teachers_loss_is_told_as_it_was_measured_and_the_laws_limit_by_its_name(of_labels, capsys):
    found = explain(of_labels, 4e5, 4e6, teacher="trained 1")
    assert (found.teacher.loss, found.teacher.loss_from) == (1.55, "measured")
    assert found.teacher.limit == pytest.approx(1.41, abs=0.05)
    assert found.teacher.delta == pytest.approx(1.55 - found.floor)
    show_explanation(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "1.5500 on real text as measured; students of unlimited text of it end at 1.4" in printed
    assert "below that teacher's own loss of 1.5500" in printed
    table = compare_models(of_labels, ["4e5:4e6"], teacher="trained 1")
    assert (table.teacher_losses, table.teacher_limits) == ({"fit": 1.55}, {})
