"""`scaling damage`: what it refuses, and what it writes."""

from __future__ import annotations

import json

import pandas as pd
from typer.testing import CliRunner

import scaling.compress.damage as measuring
from scaling.cli import app
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import DataSpec, ModelSpec, RunSpec


def run_of(store: RunStore, width: int, tokens: int) -> RunSpec:
    run = RunSpec(
        model=ModelSpec(vocab_size=65, width=width, n_layers=1, context=40),
        data=DataSpec.model_validate({"source": {"kind": "w0"}}),
        tokens=tokens,
    )
    store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=4.0)), store.draft(run.run_id))
    return run


def test_one_run_is_measured_by_its_id_and_printed_as_json(tmp_path, monkeypatch):
    store = RunStore(tmp_path).prepare()
    run = run_of(store, 32, 10_000)

    def measured(run, store, bits):
        return pd.DataFrame({"bits": bits, "loss": 4.0, "damage": 0.1, "damage_se": 0.01, "damage_low": 0.08})

    monkeypatch.setattr(measuring, "damage_of_run", measured)
    done = CliRunner().invoke(app, ["damage", run.run_id, "--bits", "4,8", "--results", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [row["bits"] for row in found["rows"]] == [4, 8]
    assert found["laws"] == []
    assert "no law of damage" in done.stderr


def test_what_is_no_number_of_bits_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["damage", "0123456789", "--bits", "4,1", "--results", str(tmp_path)])
    assert "--bits: got '4,1', allowed are whole numbers from 2 to 8" in str(done.exception)


def test_a_run_that_is_not_there_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["damage", "0123456789", "--results", str(tmp_path)])
    assert done.exit_code != 0
    assert "0123456789" in str(done.exception)
