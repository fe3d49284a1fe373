"""`scaling damage` and `scaling compress`: what they refuse, and what they write."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import scaling.chain.pruning as stage
import scaling.compress.damage as measuring
from scaling.chain.pruning import Pruned
from scaling.cli import app
from scaling.records import Outcome, RunRecord, RunStore
from scaling.report.compression import show_pruned
from scaling.spec import DataSpec, ModelSpec, RunSpec


def run_of(store: RunStore, width: int, tokens: int, *, status: str = "done") -> RunSpec:
    run = RunSpec(
        model=ModelSpec(vocab_size=65, width=width, n_layers=1, context=40),
        data=DataSpec.model_validate({"source": {"kind": "w0"}}),
        tokens=tokens,
    )
    outcome = Outcome(status=status, loss=4.0 if status == "done" else None)
    store.commit(RunRecord(spec=run, outcome=outcome), store.draft(run.run_id))
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


def test_a_run_is_pruned_by_its_id_with_the_parts_that_are_asked_for(tmp_path, monkeypatch):
    run, asked = run_of(RunStore(tmp_path).prepare(), 32, 10_000), {}

    def pruned(store, run, kept, **options):
        asked.update(options, run=run.run_id, kept=kept)
        return {"kept": kept}

    monkeypatch.setattr(stage, "prune_stage", pruned)
    words = ["compress", run.run_id, "--prune", "heads=4", "--prune", "weights=0.5", "--heal", "10k"]
    done = CliRunner().invoke(app, [*words, "--results", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kept"] == {"heads": 4, "weights": 0.5}
    assert (asked["run"], asked["healing_tokens"], asked["fit"], asked["folder"]) == (run.run_id, 10_000, None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--heal", "10k"], "--heal: has no effect beside a student left whole (--prune leaves parts out)"),
        (["--prune", "heads=2", "--heal", "inf"], "--heal: got inf, allowed is a finite number"),
        (["--prune", "heads"], "--prune: got 'heads' without a value, allowed is KEY=VALUE — for example heads=4"),
        (["--prune", "heads=2", "--prune", "heads=1"], "--prune: got heads twice, allowed is each key once"),
        (["--prune", "heads=all"], "--prune heads: got 'all', allowed is a finite number — for example 4, 0.5"),
    ],
)
def test_a_pruning_that_says_too_little_is_refused(tmp_path, words, said):
    run = run_of(RunStore(tmp_path).prepare(), 32, 10_000)
    done = CliRunner().invoke(app, ["compress", run.run_id, *words, "--results", str(tmp_path)])
    assert said in str(done.exception)


def test_a_run_that_diverged_has_nothing_to_compress(tmp_path):
    store = RunStore(tmp_path).prepare()
    run = run_of(store, 32, 10_000, status="diverged")
    done = CliRunner().invoke(app, ["compress", run.run_id, "--results", str(tmp_path)])
    assert f"run {run.run_id} diverged: it has no student to compress" in str(done.exception)


def test_what_pruning_costs_is_printed_as_a_table(capsys):
    show_pruned(
        Pruned(
            run_id="abc",
            kept={"heads": 2},
            scheme="q8_0",
            n_params_before=999_960,
            n_params=500_000,
            bytes_before=2**20 - 1,
            n_bytes=2**19,
            loss_before=1.7,
            loss_cut=2.5,
            loss=1.75,
            loss_stored=1.751,
            healing_tokens=10_000,
            born={"as much text": 1.8},
        )
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["whole,", "run", "abc", "1M", "1", "MiB", "1.7000"]
    assert lines[3] == ["healed", "on", "10,000", "tokens", "500k", "512", "KiB", "1.7500"]
    assert lines[5][-2:] == ["500k", "1.8000"]
