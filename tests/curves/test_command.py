"""`scaling curve` continues a learning curve, or forecasts a training from the schedules of others."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from scaling.cli import app
from scaling.curves.schedules import scheduled_runs
from scaling.errors import ExtrapolationError, RecordError, SpecError
from scaling.laws.schedule import MultiPower

TRUE = MultiPower(L0=3.0, A=0.5, alpha=0.5, B=400.0, C=2.0, beta=0.6, gamma=0.6)


def run(*arguments, json_=True):
    done = CliRunner().invoke(app, ["curve", *map(str, arguments), *(["--json"] if json_ else [])])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout) if json_ else done.stdout


@pytest.fixture
def curve(tmp_path):
    """A learning curve with one bad point, under foreign names."""
    tokens = np.geomspace(1e6, 1e8, 16)
    loss = 1.5 + 300.0 * tokens**-0.4
    loss[7] *= 3
    pd.DataFrame({"tokens": tokens, "val": loss}).to_csv(tmp_path / "curve.csv", index=False)
    return tmp_path / "curve.csv"


def test_a_curve_is_continued_with_an_interval_and_its_bad_point_named(curve):
    found = run(curve, "--map", "x=tokens,loss=val", "--at", "200M")
    assert found["value"] == pytest.approx(1.5 + 300.0 * 2e8**-0.4, rel=1e-3)
    assert found["low"] < found["value"] < found["high"]
    assert [point["row"] for point in found["outliers"]] == [7]
    assert "left out row 7" in run(curve, "--map", "x=tokens,loss=val", "--at", "200M", json_=False)


def test_a_curve_without_a_place_to_continue_to_or_without_its_columns_is_refused(curve):
    with pytest.raises(SpecError, match="--at: got nothing"):
        run(curve, "--map", "x=tokens,loss=val")
    with pytest.raises(RecordError, match="no column x or loss, only tokens, val"):
        run(curve, "--at", "2e8")
    with pytest.raises(ExtrapolationError, match="repeat with --force"):
        run(curve, "--map", "x=tokens,loss=val", "--at", "1e12")


def trainings(logged_every=20):
    """Three trainings with losses and one without, logged every so many steps."""
    steps = np.arange(1500)
    warm = np.minimum(1.0, (steps + 1) / 100)
    shapes = {
        "constant": np.ones(1500),
        "cosine": 0.55 + 0.45 * np.cos(np.pi * steps / 1500),
        "step": np.where(steps < 760, 1.0, 0.3),
        "planned": 1.0 - 0.9 * steps / 1500,
    }
    tables = []
    for name, shape in shapes.items():
        table = pd.DataFrame({"run": name, "step": steps, "lr": 3e-4 * warm * shape})
        keep = (steps % logged_every == 0) | (steps == 1499) | ((name == "step") & np.isin(steps, (759, 760)))
        table["loss"] = np.nan
        tables.append(table[keep])
    return pd.concat(tables, ignore_index=True)


@pytest.mark.slow
def test_a_planned_schedule_is_forecast_from_trainings_under_other_schedules(tmp_path):
    table = trainings()
    for name, planned in scheduled_runs(table).items():
        rows = (table.run == name) & (table.step >= 200)
        if name != "planned":
            table.loc[rows, "loss"] = TRUE.loss(run=planned)[planned.step >= 200]
    table["loss"] *= np.exp(2e-3 * np.random.default_rng(0).normal(size=len(table)))
    table.to_csv(tmp_path / "trainings.csv", index=False)
    found = run(tmp_path / "trainings.csv", "--map", "lr=lr")
    expected = TRUE.loss(run=scheduled_runs(table)["planned"])[-1]
    last = found["forecast"]["planned"]
    assert last["value"] == pytest.approx(expected, rel=2e-3)
    assert last["low"] < expected < last["high"] < 1.2 * expected
    assert found["law"].startswith("learning-rate schedule: L = ")


@pytest.mark.parametrize("level", [0, 1, 1.5, "nan"])
def test_a_level_that_is_no_probability_is_refused_for_a_curve_and_for_a_schedule(tmp_path, curve, level):
    trainings().to_csv(tmp_path / "trainings.csv", index=False)
    for asked in (
        (curve, "--map", "x=tokens,loss=val", "--at", "200M"),
        (tmp_path / "trainings.csv", "--map", "lr=lr"),
    ):
        with pytest.raises(SpecError, match=f"level: got {level}, allowed is a probability between 0 and 1"):
            run(*asked, "--level", level)


def test_rates_between_logged_steps_lie_on_the_line_between_them():
    table = pd.DataFrame({"step": [0, 4, 5, 9], "lr": [0.0, 4.0, 1.0, 1.0], "loss": [np.nan, 3.0, np.nan, 2.5]})
    (only,) = scheduled_runs(table).values()
    np.testing.assert_allclose(only.lr, [0, 1, 2, 3, 4, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(only.step, [4, 9])
    with pytest.raises(RecordError, match="has no lr"):
        scheduled_runs(table.drop(columns="lr"))
