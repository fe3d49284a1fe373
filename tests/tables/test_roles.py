"""A column is named as something that reads it, or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import RecordError
from scaling.laws.law import LAWS, ScalingLaw
from scaling.tables.observe import observe
from scaling.tables.roles import is_role

SIZES = {"n": "N", "d": "D"}


def table() -> pd.DataFrame:
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e5, 1e7, 4), np.geomspace(1e6, 1e9, 4)))
    return pd.DataFrame({"N": n, "D": d, "loss": 2 + 12 * n**-0.35 + 300 * d**-0.45, "C": 6 * n * d, "std": 0.01})


@pytest.mark.parametrize(
    ("name", "meant"),
    [("los", "loss"), ("losss", "loss"), ("N", "n"), ("techer", "teacher"), ("trunkid", "trunk_id"), ("bit", "bits")],
)
def test_a_name_that_nothing_reads_is_refused_with_the_one_that_was_meant(name, meant):
    with pytest.raises(RecordError, match=f"nothing reads a column as {name!r}.*did you mean {meant!r}"):
        observe(table(), columns={**SIZES, name: "C"})


def test_a_fit_from_python_refuses_a_mistyped_loss():
    with pytest.raises(RecordError, match="did you mean 'loss'"):
        scaling.fit_law(table(), n="N", d="D", columns={"losss": "C"}, bootstrap=0)


def test_whatever_a_law_is_a_function_of_may_be_mapped():
    for name in LAWS:
        assert all(is_role(column) for column in LAWS[name].columns), name


def test_a_law_that_someone_else_writes_brings_its_own_columns():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScalingLaw, "registry", type(LAWS)("law"))
        type("Own", (ScalingLaw,), {"name": "own-law", "columns": ("n", "own_column"), "formula": None})
    assert observe(table(), columns={**SIZES, "own_column": "C"}).columns["own_column"].max() > 1e15


def test_a_standard_error_that_is_named_is_read_whatever_the_loss_is_called():
    runs = table().rename(columns={"loss": "val"})
    data = observe(runs, columns={**SIZES, "loss": "val", "loss_se": "std"})
    assert data.loss_se == pytest.approx(0.01)
    assert observe(runs.assign(loss=runs["val"]), columns=data.names).loss_se == pytest.approx(0.01)


def test_the_state_of_a_run_may_have_another_name():
    runs = table().assign(outcome=["failed", *["done"] * 15])
    assert len(observe(runs, columns={**SIZES, "status": "outcome"})) == 15
