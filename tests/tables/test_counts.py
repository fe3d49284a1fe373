"""Numbers in a table as people write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.tables.expression import evaluate
from scaling.tables.observe import observe

SIZES = {"n": "n_params", "d": "n_tokens"}


def table(**columns) -> pd.DataFrame:
    rows = {"n_params": [7e7, 1e9, 2.5e9], "n_tokens": [1e9, 4e9, 16e9], "loss": [3.8, 3.4, 3.1]}
    return pd.DataFrame(rows | columns)


@pytest.mark.parametrize(
    "said",
    [
        ["70M", "1B", "2.5B"],
        ["70,000,000", "1,000,000,000", "2,500,000,000"],
        ["70_000_000", " 1e9 ", "2500M"],
        [70_000_000, "1B", "2.5e9"],
    ],
)
def test_sizes_are_read_as_people_write_them(said):
    assert observe(table(n_params=said), columns=SIZES).columns["n"].tolist() == [7e7, 1e9, 2.5e9]
    assert evaluate(table(n_params=said), "n_params * 2").tolist() == [1.4e8, 2e9, 5e9]
    assert evaluate(table(n_params=said), "n_params < 5e8").tolist() == [True, False, False]
    assert evaluate(table(n_params=said), "n_params != 1000000000").tolist() == [True, False, True]


@pytest.mark.parametrize("odd", ["70 apples", "1,5", "", "nan", "true"])
def test_the_first_text_that_is_no_number_is_named_with_its_row(odd):
    with pytest.raises(RecordError, match=f"column 'n_params' .n. has something else.*row 1: '{odd}'.*70M"):
        observe(table(n_params=["70M", odd, "1B"]), columns=SIZES)


def test_a_comma_that_may_be_a_decimal_one_is_no_thousand():
    with pytest.raises(RecordError, match="row 0: '3,145'"):
        observe(table(loss=["3,145", "3,044", "2,969"]), columns=SIZES)


def test_text_that_says_numbers_is_still_compared_with_text():
    runs = table(seed=["1", "2", "3"])
    assert evaluate(runs, "seed == '2'").tolist() == [False, True, False]
    with pytest.raises(RecordError, match="mixes text and numbers"):
        evaluate(table(seed=["1", "two", None]), "seed == 2")


def test_what_is_missing_stays_missing_beside_sizes_in_text():
    found = evaluate(table(n_params=["70M", None, "1B"]), "n_params / 1e6")
    assert np.isnan(found).tolist() == [False, True, False]
