"""The ledger: typed round trip, one row a run and fit, refusal of foreign files, and no half-written state."""

from __future__ import annotations

import csv
import errno
import inspect
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scaling.errors import MachineError, RecordError
from scaling.export.ledger.rows import COLUMNS, LedgerRow, latest, read_ledger, write_row

TYPES = {name: str(LedgerRow.__annotations__[name]) for name in COLUMNS}


def example(**changes) -> dict:
    """A row with a value of the right type in every column."""
    samples = {"str": 'a, "quoted"\nword', "int": 12, "float": 0.1, "bool": True}
    row = {name: samples[kind.removesuffix(" | None")] for name, kind in TYPES.items()}
    return row | {"run_id": "0123456789", "fit_id": "abcdef0123"} | changes


def test_a_row_comes_back_as_it_was_written(tmp_path):
    row = example(loss_forecast=1 / 3, int8_cost_se=math.inf, loss_measured=None, loss_in_interval=None, passed=False)
    write_row(tmp_path / "ledger.csv", row)
    assert read_ledger(tmp_path / "ledger.csv") == [row]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'quoted", "plain =1", ""])
def test_a_text_that_a_spreadsheet_would_compute_is_shown_and_comes_back_as_it_was(tmp_path, text):
    write_row(tmp_path / "ledger.csv", example(sweep=text))
    with (tmp_path / "ledger.csv").open(newline="") as file:
        (cells,) = csv.DictReader(file)
    assert not cells["sweep"].startswith(("=", "+", "-", "@", "\t"))
    assert read_ledger(tmp_path / "ledger.csv")[0]["sweep"] == text


def test_a_link_in_the_place_of_the_lock_is_refused_and_its_target_left_alone(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".ledger.csv.lock").symlink_to(victim)
    with pytest.raises(RecordError, match="ledger.csv.lock: is a symbolic link, where a lock file should be; remove"):
        write_row(tmp_path / "ledger.csv", example())
    assert victim.read_text() == "precious"


def test_rows_are_appended_and_none_is_rewritten(tmp_path):
    path = tmp_path / "ledger.csv"
    for run, fit, loss in [("a", "1", 0.1), ("b", "1", 0.2), ("a", "2", 0.3), ("a", "1", 0.4)]:
        before = path.read_text() if path.exists() else ""
        write_row(path, example(run_id=run, fit_id=fit, loss_forecast=loss))
        assert path.read_text().startswith(before)
    rows = read_ledger(path)
    assert [row["loss_forecast"] for row in rows] == [0.1, 0.2, 0.3, 0.4]
    assert [row["loss_forecast"] for row in latest(rows)] == [0.4, 0.2, 0.3]


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ledger.csv"
    path.write_text("run_id,colour\na,red\n")
    with pytest.raises(RecordError, match="missing columns: recorded_at, .* unknown: colour; nothing was changed"):
        write_row(path, example())
    assert path.read_text() == "run_id,colour\na,red\n"


def test_a_ledger_of_before_tells_whether_its_targets_were_met(tmp_path):
    path = tmp_path / "ledger.csv"
    path.write_text((Path(__file__).parents[2] / "predict" / "first_layout" / "ledger.csv").read_text())
    (row,) = read_ledger(path)
    assert (row["run_id"], row["target_loss"], row["target_met"]) == ("a9bf8e96d2", 1.72, True)
    assert row["target_probability"] is None
    assert row["format"] == "gguf"
    write_row(path, example())
    assert [one["run_id"] for one in read_ledger(path)] == ["a9bf8e96d2", "0123456789"]


def test_a_torn_row_is_refused(tmp_path):
    path = tmp_path / "ledger.csv"
    write_row(path, example())
    path.write_text(path.read_text() + "2026-11-22,half a row\n")
    with pytest.raises(RecordError, match="not as many cells as the header"):
        read_ledger(path)


def saved_by_a_spreadsheet(path: Path, **cells: str) -> Path:
    """A ledger whose second row holds other texts in some cells, with the mark of order and the line ends of Excel."""
    write_row(path, example(run_id="first"))
    write_row(path, example())
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[1] |= cells
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("spell", [str.upper, str.lower, str.title])
def test_true_and_false_are_read_in_every_spelling_of_a_spreadsheet(tmp_path, value, spell):
    truths = [name for name, kind in TYPES.items() if kind.startswith("bool")]
    path = saved_by_a_spreadsheet(tmp_path / "ledger.csv", **dict.fromkeys(truths, spell(str(value))))
    assert read_ledger(path)[1] == example(**dict.fromkeys(truths, value))
    write_row(path, example(run_id="later"))
    assert [row["run_id"] for row in read_ledger(path)] == ["first", "0123456789", "later"]


BAD = {"bool": ("1", "WAHR", "yes"), "int": ("1.2E+06", "1,200,000", "12.0", "#####"), "float": ("1,75", "#NAME?")}


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (name, text)
        for name, kind in TYPES.items()
        for text in (*BAD.get(kind.split(" | ")[0], ()), *([""] if kind in BAD else []))
    ],
)
def test_a_cell_that_is_not_of_its_column_is_named_with_file_row_and_value(tmp_path, column, text):
    path = saved_by_a_spreadsheet(tmp_path / "ledger.csv", **{column: text})
    with pytest.raises(RecordError, match=rf"ledger\.csv: row 3, column {column}: got {re.escape(repr(text))}, needed"):
        read_ledger(path)


def test_a_ledger_of_before_with_a_cell_that_is_no_number_is_told_the_same(tmp_path):
    path = tmp_path / "ledger.csv"
    before = (Path(__file__).parents[2] / "predict" / "first_layout" / "ledger.csv").read_text()
    assert ",1.72," in before
    path.write_text(before.replace(",1.72,", ',"1,72",'))
    for use in (read_ledger, lambda path: write_row(path, example())):
        with pytest.raises(RecordError, match=r"row 2, column target_loss: got '1,72', needed is a number"):
            use(path)


def test_a_row_with_other_columns_is_refused(tmp_path):
    with pytest.raises(RecordError, match="needs the columns recorded_at"):
        write_row(tmp_path / "ledger.csv", {"run_id": "a"})
    assert not (tmp_path / "ledger.csv").exists()


def test_a_write_that_fails_leaves_the_old_ledger_whole(tmp_path, monkeypatch):
    path = tmp_path / "ledger.csv"
    write_row(path, example(run_id="a"))

    def full_disk(source, target):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(MachineError, match="no space left"):
        write_row(path, example(run_id="b"))
    monkeypatch.undo()
    assert [row["run_id"] for row in read_ledger(path)] == ["a"]
    assert sorted(found.name for found in tmp_path.iterdir()) == [".ledger.csv.lock", "ledger.csv"]


def test_writers_at_the_same_time_lose_no_row(tmp_path):
    path = tmp_path / "ledger.csv"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_row(path, example(run_id=f"{i:02d}")), range(24)))
    assert sorted(row["run_id"] for row in read_ledger(path)) == [f"{i:02d}" for i in range(24)]


def test_every_column_is_described():
    described = inspect.getdoc(LedgerRow).split("Attributes:")[
        1
    ]  # the same on every Python: 3.13 strips indents itself
    assert [name for name in COLUMNS if f"\n    {name}: " not in described] == []


def test_no_ledger_yet_says_what_writes_one(tmp_path):
    with pytest.raises(RecordError, match="no ledger yet"):
        read_ledger(tmp_path / "ledger.csv")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n\0,2\n", b'"' + b"x" * 200_000])
def test_a_file_that_is_no_text_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "ledger.csv"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="nothing was changed"):
        write_row(path, example())
    assert path.read_bytes() == content
