"""Tables on disk: read as they are, or one error that says what is wrong with the file."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.records import load_runs
from scaling.tables.files import read_table

GOOD = "n,d,loss\n1e6,1e8,3.0\n2e6,1e8,2.8\n"


def written(folder, content, name="runs.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_carry_their_line_in_the_file_past_blank_lines(tmp_path):
    table = read_table(written(tmp_path, "n,loss\n1,3\n\n2,4\n,\n3,5\n"))
    assert list(table.index) == [2, 4, 6]
    assert list(table.loss) == [3, 4, 5]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (GOOD.replace(",", ";"), "cells are separated by semicolons.*allowed are commas"),
        (GOOD.replace(",", "\t"), "cells are separated by tabs"),
        ("n;d;loss\n1,5e6;1,0e8;3,0\n", "cells are separated by semicolons"),
        (GOOD.replace("3.0", "3\0"), "line 2 holds a NUL byte"),
        (GOOD.encode("utf-16"), "NUL byte.*UTF-16"),
        (GOOD.encode() + b"\xff\xfe\n", r"line \d holds byte 0xff, which is no UTF-8.*iconv"),
        ("n,loss,größe\n1,2,3\n".encode("latin-1"), "line 1 holds byte 0xf6, which is no UTF-8"),
        ("n,loss\n1,2,3\n4,5,6\n", "not a comma-separated table"),
        ("n,loss\n1,2\n4,5,6\n", "not a comma-separated table"),
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
    ],
)
def test_what_is_wrong_with_a_csv_is_named(tmp_path, content, what):
    with pytest.raises(RecordError, match=what):
        read_table(written(tmp_path, content))


def test_one_column_is_a_table_and_a_mark_of_bytes_is_no_name(tmp_path):
    table = read_table(written(tmp_path, b"\xef\xbb\xbfloss\n3.0\n2.5\n"))
    assert list(table.columns) == ["loss"]


def test_devices_folders_and_absent_files_are_refused_before_reading(tmp_path):
    for path in ("/dev/zero", tmp_path):
        with pytest.raises(RecordError, match="is not a file"):
            read_table(type(tmp_path)(path))
    with pytest.raises(RecordError, match="is not there"):
        read_table(tmp_path / "absent.csv")


def test_damaged_parquet_is_refused_or_read(tmp_path):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(GOOD)).to_parquet(buffer)
    whole = buffer.getvalue()
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(256)
        damaged = bytes(content)[: rng.integers(4, len(content)) if rng.random() < 0.3 else None]
        try:
            assert isinstance(load_runs(written(tmp_path, damaged, "runs.parquet")), pd.DataFrame)
        except RecordError:
            refused += 1
    assert refused > 30
    with pytest.raises(RecordError, match="runs.parquet: not a parquet table"):
        read_table(written(tmp_path, "garbage", "runs.parquet"))


def test_two_columns_of_one_name_are_refused_since_the_second_would_go_unread(tmp_path):
    with pytest.raises(RecordError, match="two columns have the name 'loss'"):
        read_table(written(tmp_path, "n,loss,loss\n1,2,3\n"))


def test_ids_that_look_like_numbers_stay_as_they_are_written(tmp_path):
    (tmp_path / "runs.csv").write_text("run_id,trunk_id,n_params\n0123456789,12345e6789,1000\n,77,2000\n")
    found = read_table(tmp_path / "runs.csv")
    assert found["run_id"].tolist()[0] == "0123456789"
    assert found["run_id"].isna().tolist() == [False, True]
    assert found["trunk_id"].tolist() == ["12345e6789", "77"]
    assert found["n_params"].tolist() == [1000, 2000]
