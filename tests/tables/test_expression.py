"""Expressions over tables: arithmetic of float64, whatever the storage; anything else is one error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import RecordError
from scaling.tables.expression import DEEPEST, LONGEST, could_hold, evaluate
from scaling.tables.read import select_rows

RUNS = pd.DataFrame({"n": [1e6, 2e6], "d": [1e9, 2e9], "s": ["a", "b"], "loss": [3.0, 2.5]})


def test_integer_columns_do_not_wrap():
    # 6 n d passes 2^63 = 9.2e18 in every row, and 1e22 in the eleventh.
    n = np.geomspace(1e9, 8.33e10, 20).astype(int)
    table = pd.DataFrame({"n": n, "d": 20 * n})
    kept = select_rows(table, "6*n*d < 1e22")
    assert len(kept) == 10
    assert list(kept.index) == list(range(10))


@pytest.mark.parametrize("kind", ["uint8", "uint32", "int8", "int16", "Int64", "UInt8", "float16", "float32"])
def test_storage_types_do_not_change_arithmetic(kind):
    table = pd.DataFrame({"a": [1, 100], "b": [2, 120]}).astype(kind)
    np.testing.assert_array_equal(evaluate(table, "a - b"), [-1.0, -20.0])
    np.testing.assert_array_equal(evaluate(table, "a * b * 1000"), [2e3, 1.2e7])
    assert evaluate(table, "a * b").dtype == np.float64


@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5),
    st.sampled_from(["a + b", "a - b", "a * b", "-a", "a * a * b", "abs(a) - b"]),
)
@settings(max_examples=100, deadline=None)
def test_arithmetic_is_that_of_floats_for_any_integers(values, expression):
    table = pd.DataFrame({"a": np.array(values, np.int64), "b": np.array(values[::-1], np.int64)})
    floats = {name: table[name].to_numpy(float) for name in table}
    np.testing.assert_array_equal(evaluate(table, expression), eval(expression, {"abs": abs}, floats))


@pytest.mark.parametrize("expression", ["n ** 60", "exp(n)", "n / 0", "log(0 * n)", "sqrt(-n)", "n % 0", "1e308 * 10"])
def test_results_beyond_the_numbers_are_refused(expression):
    with pytest.raises(RecordError, match="no number that a float holds"):
        evaluate(RUNS, expression)


def test_an_overflow_names_its_row():
    with pytest.raises(RecordError, match="in row 1 "):
        evaluate(pd.DataFrame({"n": [1.0, 1e200]}), "n * n")


def test_missing_numbers_stay_missing_and_no_condition_holds_of_them():
    table = pd.DataFrame({"n": pd.array([1, None, 3], "Int64")})
    np.testing.assert_array_equal(evaluate(table, "2 * n"), [2.0, np.nan, 6.0])
    np.testing.assert_array_equal(evaluate(table, "n < 9"), [True, False, True])


def test_of_what_is_missing_neither_a_condition_nor_its_opposite_holds():
    table = pd.DataFrame({"b": pd.array([True, False, None], "boolean"), "x": [1.0, 3.0, np.nan]})
    for expression, holds in (
        ("b", [True, False, False]),
        ("not b", [False, True, False]),
        ("~(x > 2)", [True, False, False]),
        ("not (b and x > 0)", [False, True, False]),
        ("not b or x == x", [True, True, False]),
        ("b or x < 5 or True", [True, True, True]),
        ("b == False", [False, True, False]),
        ("b != True", [False, True, True]),
    ):
        np.testing.assert_array_equal(evaluate(table, expression), holds, err_msg=expression)
    np.testing.assert_array_equal(evaluate(table, "b * 2"), [2.0, 0.0, np.nan])


@pytest.mark.parametrize("kind", ["int64", "Int64", "uint64"])
def test_integers_beyond_the_floats_are_told_apart(kind):
    table = pd.DataFrame({"key": pd.Series([2**53, 2**53 + 1], dtype=kind)})
    np.testing.assert_array_equal(evaluate(table, f"key == {2**53 + 1}"), [False, True])
    np.testing.assert_array_equal(evaluate(table, f"key != {2**53 + 1}"), [True, False])
    np.testing.assert_array_equal(evaluate(table, f"key in [{2**53}, 5]"), [True, False])


def test_a_negative_power_of_an_integer_is_a_fraction():
    np.testing.assert_array_equal(evaluate(RUNS, "2 ** -1"), [0.5, 0.5])


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_missing_text_equals_nothing(kind):
    table = pd.DataFrame({"status": pd.array(["done", None, "failed"], dtype=kind)})
    np.testing.assert_array_equal(evaluate(table, "status == 'done'"), [True, False, False])
    np.testing.assert_array_equal(evaluate(table, "status != 'done'"), [False, True, True])
    np.testing.assert_array_equal(evaluate(table, "status not in ['done']"), [False, True, True])


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("s*1000000000", "mixes text and numbers"),
        ("'a' * 1000000000 == s", "mixes text and numbers"),
        ("s < 3", "mixes text and numbers"),
        ("s == 3", "mixes text and numbers"),
        ("n == '1e6'", "mixes text and numbers"),
        ("n > 1 & d > 2", "write a comparison"),
        ("n and d", "write a comparison"),
        ("s in 'abc'", "as a list"),
        ("n is d", "write == instead"),
        ("1j * n", "allowed are"),
        ("n if n else d", "allowed are"),
        ("[x for x in n]", "allowed are"),
        ("f'{n}' == s", "allowed are"),
        ("log(n, d)", "allowed are"),
        ("n\0", "cannot read"),
        ("n +", "cannot read"),
        ("9" * 400, "no number|cannot evaluate"),
        ("+".join("n" * 500), "operations deep"),
        ("(" * 900 + "n" + ")" * 900, "cannot read"),
        ("not " * 200 + "(n > 1)", "operations deep"),
        ("-" * 900 + "n", "operations deep"),
        ("n" + " " * LONGEST, "shorten it"),
        ("n + missing", "no such column"),
    ],
)
def test_what_no_person_means_is_one_error_that_says_what_is_allowed(expression, what):
    with pytest.raises(RecordError, match=what):
        evaluate(RUNS, expression)


def test_the_deepest_allowed_expression_is_evaluated():
    np.testing.assert_array_equal(evaluate(RUNS, "+".join(["n"] * (DEEPEST - 1))), RUNS.n * (DEEPEST - 1))


TOKENS = ["n", "d", "s", "loss", "'a'", "2", "1e9", "1e300", "None", "True", "lambda", "log", "exp", "if", "not", "or"]
TOKENS += [*"*+-/%<()[],&|~:.`", "**", "==", "!=", "in", "and"]


@given(st.lists(st.sampled_from(TOKENS), max_size=14) | st.text(max_size=30).map(lambda text: [text]))
@settings(max_examples=400, deadline=None)
def test_any_expression_gives_values_or_a_record_error(tokens):
    try:
        values = evaluate(RUNS, " ".join(tokens))
    except RecordError:
        return
    assert len(values) == len(RUNS)
    assert values.dtype in (np.dtype(float), np.dtype(bool), np.dtype(object))


def test_backticks_inside_quotes_are_part_of_the_text():
    table = pd.DataFrame({"name": ["a`n`b", "c"], "odd name": [1.0, 2.0]})
    assert list(evaluate(table, "name == 'a`n`b'")) == [True, False]
    assert list(evaluate(table, "name == 'a`n`b' and `odd name` < 2")) == [True, False]


def test_an_integer_that_no_float_holds_is_refused_in_a_column_too():
    with pytest.raises(RecordError, match="column 'n' holds 1000"):
        evaluate(pd.DataFrame({"n": [1, 10**400]}, dtype=object), "n > 1")


def test_a_condition_could_hold_of_what_is_empty_until_something_known_decides_it():
    known = {"n": [1.0, 5.0, np.nan], "s": ["a", "b", None]}
    table = pd.DataFrame(known | {"loss": None, "device": None, "odd name": None})
    cases = {
        "n < 3": [True, False, True],
        "n < 3 and loss < 2": [True, False, True],
        "n < 3 or loss < 2": [True, True, True],
        "not (n < 3)": [False, True, True],
        "s == 'a'": [True, False, True],
        "s == 'a' and device == 'cpu'": [True, False, True],
        "n == 5 and `odd name` != 1": [False, True, True],
        "log(n * loss) > 0 and s in ['b']": [False, True, True],
    }
    for condition, expected in cases.items():
        assert could_hold(table, condition).tolist() == expected, condition
    for wrong in ("n", "loss", "n + loss"):
        with pytest.raises(RecordError, match="gives numbers, not true or false"):
            could_hold(table, wrong)
    with pytest.raises(RecordError, match="did you mean 'loss'"):
        could_hold(table, "n < 3 and los < 2")
