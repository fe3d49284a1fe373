"""Texts that no one form holds for are named."""

import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitter import fit
from scaling.laws.size_and_data import Chinchilla

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def texts(kinds, noise=0.004, seed=0):
    """A grid of runs on each text, that raises the floor by so much and takes this share of its tokens away."""
    rng = np.random.default_rng(seed)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    parts = [
        pd.DataFrame({"n_params": n, "n_tokens": d, "teacher": text}).assign(
            loss=(TRUTH.loss(n=n, d=d * worth) + floor) * np.exp(rng.normal(0, noise, n.size))
        )
        for text, (floor, worth) in kinds.items()
    ]
    return pd.concat(parts, ignore_index=True)


def notes(found):
    return [note for note in found.status.notes if "texts differ in kind" in note]


def test_a_text_that_raises_the_floor_is_named_where_another_only_costs_data():
    runs = texts({"real": (0.0, 1.0), "noisy": (0.2, 1.0), "dull": (0.0, 0.4)})
    (note,) = notes(fit(runs, law="q2", bootstrap=0))
    assert "this form misses noisy by -8.4 % over its D" in note
    assert "law 'q8'" in note
    for law in ("q8", "qm"):
        own = fit(runs, law=law, bootstrap=0)
        assert not notes(own)
        assert own.loss(1e10, 1e12, teacher="noisy") == pytest.approx(float(TRUTH.loss(n=1e10, d=1e12)) + 0.2, rel=0.02)


def test_where_texts_differ_in_kind_the_fitter_gives_each_a_floor_and_a_discount():
    kinds = {"real": (0.0, 1.0), "noisy": (0.2, 1.0), "dull": (0.0, 0.4), "simple": (0.3, 2.0)}
    found = fit(texts(kinds), bootstrap=0)
    assert found.law.name == "q8"
    assert not notes(found)
    for text, (floor, worth) in kinds.items():
        run = float(TRUTH.loss(n=1e10, d=1e12 * worth)) + floor
        said = found.predict(1e10, 1e12, teacher=text, force=True)
        assert said.value == pytest.approx(run, rel=0.01)
        assert said.low < run < said.high
    assert found.params["c[dull]"] == pytest.approx(-np.log(0.4), abs=0.15)
    assert found.params["c[simple]"] == pytest.approx(-np.log(2.0), abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [{"b": (0.1, 1.0), "c": (0.3, 1.0)}, {"b": (0.0, 0.6), "c": (0.0, 0.3)}])
def test_texts_of_one_kind_are_not_noted(kinds):
    for seed in range(2):
        assert not notes(fit(texts({"real": (0.0, 1.0)} | kinds, seed=seed), law="auto", bootstrap=0))


def test_few_runs_of_a_text_show_no_trend():
    runs = texts({"real": (0.0, 1.0), "noisy": (0.2, 1.0), "dull": (0.0, 0.4)})
    few = pd.concat([part.iloc[::6] if text != "real" else part for text, part in runs.groupby("teacher")])
    assert not notes(fit(few.reset_index(drop=True), law="q2", bootstrap=0))
