"""Figures of measures: a line for each arm, with the numbers of its table."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from scaling.fit.measures.transfer import Transfer, TransferPoint
from scaling.report import figures


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def point(start: str, n: float, seed: int, d: float, effective: float) -> TransferPoint:
    gained = effective - d
    return TransferPoint(
        start=start, start_tokens=1, n=n, seed=seed, d=d, loss=2.0, effective=effective, transferred=gained
    )


def test_effective_data_has_a_line_for_each_start_and_size_averaged_over_seeds():
    found = Transfer(
        points=(point("a", 1e4, 0, 100, 300), point("a", 1e4, 1, 100, 500), point("b", 1e4, 0, 100, 50)),
        laws=(),
        left_out=(),
    )
    ax = found.plot()
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["a, N = 10k"], [4.0])
    np.testing.assert_allclose(lines["b, N = 10k"], [0.5])


def test_a_vocabulary_has_a_line_of_its_students_that_read_most_by_bytes():
    rows = [(1024, 9, 300, 2.5), (1024, 9, 200, 2.6), (1024, 4, 200, 2.9), (8192, 5, 400, 2.4)]
    runs = pd.DataFrame(rows, columns=["vocab_size", "n_tokens", "file_bytes", "bits_per_byte"])
    ax = figures.bits_by_vocabulary(runs)
    lines = {line.get_label(): (*line.get_xdata(), *line.get_ydata()) for line in ax.lines}
    assert lines == {"V = 1,024": (200, 300, 2.6, 2.5), "V = 8,192": (400, 2.4)}


def test_keystrokes_are_points_of_both_kinds_and_the_line_through_the_students():
    bits = np.linspace(1.8, 2.4, 8)
    students = pd.DataFrame({"bits_per_byte": bits, "savings": 0.8 / (1 + (bits / 2) ** 1.5), "ceiling": 0.8})
    students = students.assign(model="student", savings_se=0.01)
    ngrams = students[:3].assign(model="ngram", savings=0.5)
    ax = figures.keystrokes(pd.concat([students, ngrams]))
    told, *_ = [line for line in ax.lines if len(line.get_xdata()) == 50]
    np.testing.assert_allclose(np.interp(bits, *told.get_data()), students["savings"], atol=1e-3)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["students", "n-grams of as many bytes"]
