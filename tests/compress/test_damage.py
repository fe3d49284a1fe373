"""Damage: rounding alone, measured in pairs, with an interval, on runs that are finished."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.compress.damage import damage_table, rounded
from scaling.compress.degradation import degradation, paired
from scaling.compress.student import quantize
from scaling.data.evaluation import evaluation_sets
from scaling.errors import RecordError, SpecError
from scaling.tables.files import read_table
from scaling.train.checkpoint import load_student
from scaling.train.student.model import to_tensors


@pytest.fixture(scope="module")
def tensors(store, run):
    return to_tensors(load_student(store.student_dir(run.run_id), run.model))


def test_fewer_bits_move_the_loss_of_every_sequence_further(store, run):
    table = damage_table([run], store).set_index("bits")
    assert list(table.index) == [2, 3, 4, 5, 6, 8]
    assert np.all(np.diff(table["damage_se"]) < 0)
    assert (table["damage_low"] < table["damage"]).all()
    assert (table["damage"] < table["damage_high"]).all()
    assert (table["n_params_total"] == 65 * 32 + table["n_params"]).all()


def test_four_and_eight_bits_are_those_of_the_exported_formats(store, run, tensors):
    table = damage_table([run], store, bits=(4, 8)).set_index("bits")
    real = evaluation_sets(run, store).real
    for bits, scheme in {4: "q4_0", 8: "q8_0"}.items():
        back = quantize(tensors, scheme).dequantize()
        assert table["damage"][bits] == degradation(run.model, tensors, back, real).increase


def test_what_a_stopped_measurement_kept_is_not_measured_again(store, run, monkeypatch, tmp_path):
    kept, path = [], tmp_path / "part.csv"
    whole = damage_table([run], store, bits=(4, 8), keep=kept.append)
    kept[0].to_csv(path, index=False)
    monkeypatch.setattr("scaling.compress.damage.damage_of_run", None)
    again = damage_table([run], store, bits=(4, 8), known=read_table(path))
    pd.testing.assert_frame_equal(again, whole, check_exact=True, check_dtype=False)
    # Of bits that it does not have, nothing is known.
    with pytest.raises(TypeError):
        damage_table([run], store, bits=(3, 8), known=kept[0])


def test_gains_are_never_rounded(tensors):
    gains = {name: tensor for name, tensor in tensors.items() if tensor.ndim == 1}
    assert gains
    assert all(np.array_equal(rounded(tensors, 2)[name], gain) for name, gain in gains.items())


def test_what_cannot_be_measured_is_refused(store, run, tensors):
    with pytest.raises(RecordError, match="no finished run"):
        damage_table([run.model_copy(update={"seed": 9})], store)
    with pytest.raises(SpecError, match="9 bits for a weight"):
        rounded(tensors, 9)


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        hard = rng.normal(2.0, 0.5, 80)  # what both find hard cancels
        found = paired(hard, hard + rng.exponential(0.01, 80))
        inside += found.low <= 0.01 <= found.high
        assert found.high - found.low < 0.01
    assert 0.8 < inside / 200 < 0.96
