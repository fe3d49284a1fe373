"""A fit of texts of which none is real: each is told in terms of itself, and no line speaks of real text."""

import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitter import fit
from scaling.predict.explain.answer import explain
from scaling.predict.explain.comparison import compare_models
from scaling.report.forecasts import show_comparison, show_explanation


@pytest.fixture(scope="module")
def of_two_texts():
    rng = np.random.default_rng(0)
    rows = [
        (n, d, text, (floor + 9 * n**-0.35 + 300 * d**-0.5) * np.exp(0.001 * rng.standard_normal()))
        for text, floor in (("web", 1.9), ("lessons", 1.5))
        for n in (1e5, 2e5, 4e5, 8e5)
        for d in (1e6, 2e6, 4e6)
    ]
    return fit(pd.DataFrame(rows, columns=["n_params", "n_tokens", "teacher", "loss"]), law="qm", bootstrap=0)


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
