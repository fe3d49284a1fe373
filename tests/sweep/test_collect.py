"""Logs and foreign runs become tables."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.fit.describe import summary
from scaling.fit.fitter import fit
from scaling.records import load_runs
from scaling.sweep.collect import import_runs, metrics_table
from scaling.tables.units import SIZE_COLUMNS

FOREIGN = "N,C,val_loss\n1e6,6e13,3.0\n2e6,2.4e14,2.8\n4e6,9.6e14,2.6\n"
MAP = {"n_params": "N", "n_tokens": "C / (6 * N)", "loss": "val_loss"}


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "foreign.csv"
    path.write_text(FOREIGN)
    return path


def test_training_logs_become_one_long_table(store):
    for run_id in ("a", "b"):
        folder = store.run_dir(run_id)
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n{"step": 3, "lo')
    table = metrics_table(store, ["a", "b", "absent"])
    assert list(table["run_id"]) == ["a", "a", "b", "b"]
    assert list(table["loss"]) == [3.0, 2.5, 3.0, 2.5]


def test_a_log_damaged_in_its_middle_is_an_error(store):
    folder = store.run_dir("a")
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(RecordError, match=r"metrics.jsonl:2: not JSON"):
        metrics_table(store, ["a"])


@pytest.mark.parametrize("line", [b"1", b"[1]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a": \xff}'])
def test_a_line_of_a_log_that_is_no_step_is_damage_wherever_it_stands_but_at_the_end(store, line):
    folder = store.run_dir("a")
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(RecordError, match=r"metrics.jsonl:2: .*the log is damaged; move"):
        metrics_table(store, ["a"])
    (folder / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line)
    assert list(metrics_table(store, ["a"])["step"]) == [1]


def test_other_peoples_runs_are_read_back_like_our_own(csv, tmp_path):
    import_runs(csv, tmp_path / "results" / "theirs", map=MAP, where="N > 1e6")
    table = load_runs(tmp_path / "results" / "theirs")
    assert list(table["n_tokens"]) == [2e7, 4e7]
    assert list(table.index) == [3, 4]
    assert isinstance(table, pd.DataFrame)


def test_a_table_without_a_loss_says_which_columns_it_has(csv, tmp_path):
    with pytest.raises(RecordError, match=r"no column loss — it has N, C, val_loss.*--map loss=COLUMN"):
        import_runs(csv, tmp_path / "x", map={"n_params": "N", "n_tokens": "C / (6 * N)"})


@pytest.mark.parametrize("convention", ["n_params", "n_params_linear", "n_params_total"])
def test_an_import_takes_any_convention_of_model_size_and_the_fit_carries_it(tmp_path, convention):
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    path = tmp_path / "foreign.csv"
    pd.DataFrame({"N": n, "D": d, "loss": 1.7 + 400 * n**-0.34 + 1200 * d**-0.36}).to_csv(path, index=False)
    import_runs(path, tmp_path / "x", map={convention: "N", "n_tokens": "D"})
    found = fit(load_runs(tmp_path / "x"), law="chinchilla", bootstrap=0)
    assert found.columns["n"] == convention
    assert SIZE_COLUMNS[convention] in summary(found)


def test_a_table_without_a_size_says_which_conventions_there_are(csv, tmp_path):
    with pytest.raises(RecordError, match="n_params_total: all parameters.*--map, as n_params_total=COLUMN"):
        import_runs(csv, tmp_path / "x", map={"n_tokens": "C / (6 * N)", "loss": "val_loss"})


def test_an_import_overwrites_nothing(csv, tmp_path):
    import_runs(csv, tmp_path / "x", map=MAP)
    with pytest.raises(RecordError, match="exists already"):
        import_runs(csv, tmp_path / "x", map=MAP)
