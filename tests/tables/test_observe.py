"""Which text each run of a table read."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.fit.fitter import fit
from scaling.laws.size_and_data import Chinchilla
from scaling.tables.observe import observe

COLUMNS = {"n": "n_params", "d": "n_tokens"}
TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def runs(**texts):
    """Two runs, and what they say of their text."""
    return pd.DataFrame({"n_params": [1e6, 2e6], "n_tokens": [1e8, 2e8], "loss": [4.0, 3.5], **texts})


def test_texts_with_numbers_for_ids_are_told_apart():
    data = observe(runs(text_id=[7, 8], teacher="small"), columns=COLUMNS)
    assert data.teachers == ("small (7)", "small (8)")
    assert data.texts == {"7": "small (7)", "8": "small (8)"}


def test_a_number_is_one_label_whether_or_not_a_cell_of_its_column_is_empty():
    assert observe(runs(teacher=[7, 8]), columns=COLUMNS).teachers == ("7", "8")
    assert observe(runs(teacher=[7.0, np.nan]), columns=COLUMNS).teachers == ("real", "7")
    assert observe(runs(teacher=[0.5, 1.0]), columns=COLUMNS).teachers == ("0.5", "1")


def test_blanks_around_a_label_tell_no_texts_apart():
    assert observe(runs(teacher=["real ", "real"]), columns=COLUMNS).teachers == ("real",)
    assert observe(runs(teacher=[" a", "  "]), columns=COLUMNS).teachers == ("real", "a")


def test_real_text_by_another_name_is_noted():
    data = observe(runs(teacher=["Real", "real"]), columns=COLUMNS)
    assert data.teachers == ("real", "Real")
    assert "the text 'Real' counts as a teacher's: real text is written 'real'" in data.notes


def test_a_divergence_below_zero_is_refused():
    with pytest.raises(RecordError, match=r"'delta_coverage' is a divergence, .* got row 1: -0.01; an estimate"):
        observe(runs(teacher=["a", "b"], delta_coverage=[0.1, -0.01]), columns=COLUMNS)


def test_a_label_comes_before_an_id_that_another_text_has():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e8, 3), np.geomspace(1e8, 1e10, 3)))
    loss = TRUTH.loss(n=n, d=d)
    swapped = {"a": ("b", 0.1), "b": ("a", 0.3)}
    parts = [
        pd.DataFrame({"n_params": n, "n_tokens": d, "teacher": label, "text_id": text_id, "loss": loss + floor})
        for label, (text_id, floor) in swapped.items()
    ]
    found = fit(pd.concat(parts, ignore_index=True), law="q1", bootstrap=0)
    for label, (_, floor) in swapped.items():
        assert found.loss(1e8, 1e10, teacher=label) == pytest.approx(loss[-1] + floor, rel=1e-4)
    numbered = fit(pd.concat(parts).assign(teacher="x", text_id=[1] * 9 + [2] * 9), law="q1", bootstrap=0)
    assert numbered.loss(1e8, 1e10, teacher=2) == pytest.approx(loss[-1] + 0.3, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "columns", "errors"),
    [
        ("loss", {"loss_se": [0.04, 0.035]}, [0.04, 0.035]),
        ("loss_teacher", {"loss_teacher": [4.2, 3.6], "loss_se": 0.04, "loss_teacher_se": 0.02}, [0.02, 0.02]),
        ("loss_teacher", {"loss_teacher": [4.2, 3.6], "loss_se": 0.04}, None),
        ("bits_per_byte", {"bits_per_byte": [2.0, 1.4], "loss_se": [0.04, 0.035]}, [0.02, 0.014]),
        ("val_loss", {"val_loss": [4.0, 3.5], "loss": None, "loss_se": 0.04}, [0.04, 0.04]),
        ("loss * 2", {"loss_se": 0.04}, None),
        ("loss", {"loss_se": [np.nan, np.nan]}, None),
    ],
)
def test_a_loss_has_its_own_standard_error_and_never_anothers(loss, columns, errors):
    table = runs(**columns)
    found = observe(table.drop(columns=[name for name in columns if columns[name] is None]), columns=COLUMNS, loss=loss)
    assert found.loss_se is None if errors is None else found.loss_se == pytest.approx(errors)


def test_a_sweep_measured_in_bits_of_a_byte_weighs_its_runs_as_in_nats():
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e8, 4), np.geomspace(1e8, 1e10, 4)))
    loss = TRUTH.loss(n=n, d=d) * np.exp(np.random.default_rng(1).normal(0, 0.004, 16))
    table = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss, "loss_se": 0.003 * loss, "vocab_size": 256})
    table["bits_per_byte"] = table["loss"] / 3
    nats, bits = (fit(table, law="chinchilla", loss=name, bootstrap=0) for name in ("loss", "bits_per_byte"))
    assert bits.params["alpha"] == pytest.approx(nats.params["alpha"], rel=1e-4)
    assert bits.scatter.evaluation == pytest.approx(nats.scatter.evaluation) == pytest.approx(0.003)
