"""`scaling register` and `scaling score`, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from scaling.cli import app

FIT = str(Path(__file__).resolve().parents[1] / "predict" / "first_layout" / "fit.json")
SWEEP = """
name: larger
base:
  model: {width: 96, context: 40}
  data: {source: {kind: w0}, teacher: {kind: noise, rate: 0.2}}
grid:
  tokens: [2M, 4M]
"""


def test_what_is_registered_is_scored_once_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("larger.yaml").write_text(SWEEP)
    call = CliRunner().invoke
    done = call(app, ["register", "larger.yaml", "--fit", FIT, "--json"])
    assert done.exit_code == 0, done.output
    forecasts = json.loads(done.stdout)
    told = call(app, ["register", "larger.yaml", "--fit", FIT, "--out", "others"]).stdout
    assert "2 forecasts in others: commit them, then train with scaling sweep larger.yaml" in " ".join(told.split())
    assert sorted(path.stem for path in Path("forecasts").iterdir()) == sorted(one["run_id"] for one in forecasts)
    frame = pd.DataFrame({"run_id": [one["run_id"] for one in forecasts], "loss": [one["loss"] for one in forecasts]})
    frame.to_csv("runs.csv", index=False)
    found = json.loads(call(app, ["score", "forecasts", "--results", "runs.csv", "--json"]).stdout)
    assert (found["n"], found["inside"], found["mean_error"], found["kept"]) == (2, 1.0, 0.0, 2)
    shown = call(app, ["score", "forecasts", "--results", "runs.csv"]).stdout
    assert "2 of 2 forecasts measured: 100% inside their interval" in shown
    again = call(app, ["register", "larger.yaml", "--fit", FIT])
    assert "registered already" in str(again.exception)
