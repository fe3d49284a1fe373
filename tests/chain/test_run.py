"""The chain from a sweep file to a ledger row, on a 2×2 sweep of two teachers, and what asking again does."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scaling.records import load_runs

SWEEP = """
# QUESTION: Does every stage of the chain do its work?
# COMMAND:  scaling run smallest.yaml
# COST:     eight runs of four trunks, seconds
# EXPECT:   a ledger row
name: smallest
base:
  model: {n_layers: 1, context: 40}
  data: {source: {kind: w0}}
  optim: {batch_size: 8, warmup_tokens: 5k, lr: 5e-3}
  evaluation: {tokens: 4k}
grid:
  model.width: [32, 64]
  data.teacher: [{kind: real}, {kind: noise, rate: 0.2}]
  tokens: [20k, 60k]
fit: {law: q1, held: {E: 1.370418, alpha: 0.25}, bootstrap: 50}
recommend: {target_loss: 2.9, memory: 64MiB, widths: [32, 64]}
"""


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scaling", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    (folder / "smallest.yaml").write_text(SWEEP)
    return folder


@pytest.fixture(scope="module")
def first(folder) -> dict:
    """What the first run of the chain found."""
    pytest.importorskip("xllamacpp", reason="the engine is not installed: extra [export]")
    done = process("run", "smallest.yaml", "--jobs", "1", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_stage_leaves_its_result(first, folder):
    results = folder / "results" / "smallest"
    assert len(load_runs(results)) == 8
    for name in ("fit.json", "recommendation.json", "bundle/model.gguf", "bundle/manifest.json", "fit.png"):
        assert (results / name).stat().st_size > 0


def test_more_width_and_more_tokens_lower_the_loss(first, folder):
    table = load_runs(folder / "results" / "smallest").pivot_table(
        index="width", columns=["teacher", "n_tokens"], values="loss"
    )
    assert (table.loc[64] < table.loc[32]).all()
    for teacher in ("real", "noise 0.2"):
        assert (table[teacher].diff(axis=1).iloc[:, 1:] < 0).all(axis=None)


def test_the_exact_terms_of_every_run_close(first, folder):
    table = load_runs(folder / "results" / "smallest")
    terms = table.entropy + table.delta_coverage + table.delta_noise + table.kl_student + table.cross_term
    assert (terms - table.loss).abs().max() < 1e-6


def test_the_ledger_holds_forecast_beside_measured(first, folder):
    with (folder / "results" / "ledger.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1
    assert rows[0]["sweep"] == "smallest"
    pairs = {key: key.replace("forecast", "measured") for key in rows[0] if "forecast" in key}
    pairs["damage_forecast"] = "int8_cost"
    assert len(pairs) >= 4
    assert all(rows[0][forecast] and rows[0][measured] for forecast, measured in pairs.items())


def test_the_exported_file_is_what_was_promised(first):
    checks = {check["name"]: check for check in first["verification"]["checks"]}
    promises = [check for check in checks.values() if check["kind"] == "promise"]
    assert len(promises) >= 4
    assert all(check["passed"] for check in promises)


def test_asking_again_trains_nothing_and_says_so(first, folder, scaling):
    before = {path: path.read_bytes() for path in (folder / "results" / "runs").rglob("result.json")}
    done = scaling("run", "smallest.yaml", "--jobs", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "nothing to train, 8 of 8 runs are there" in done.stderr
    assert {path: path.read_bytes() for path in (folder / "results" / "runs").rglob("result.json")} == before


@pytest.mark.slow
def test_a_budget_buys_runs_until_the_decision_is_settled_and_its_student_is_exported_and_verified(
    first, folder, scaling
):
    longer = ("--set", "name=rounds", "--set", "grid.tokens=[20k, 60k, 80k]", "--set", "recommend.target_loss=2.85")
    done = scaling("run", "smallest.yaml", *longer, "--budget", "4e10", "--jobs", "1", "--json", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    (said,) = [stage["said"] for stage in found["stages"] if stage["name"] == "train"]
    rounds = [line for line in done.stderr.splitlines() if line.startswith("round ")]
    assert rounds[0].startswith("round 1: ")
    assert f"after {len(rounds) - 1} rounds" in said
    assert " of 4e+10 FLOPs" in said
    # The student that the rounds lead to is a file that was run, and a row of the ledger.
    assert (folder / "results" / "rounds" / "bundle" / "model.gguf").stat().st_size > 0
    assert all(check["passed"] for check in found["verification"]["checks"] if check["kind"] == "promise")
    with (folder / "results" / "ledger.csv").open() as file:
        assert [row["sweep"] for row in csv.DictReader(file)][-1] == "rounds"


def test_each_stage_is_a_command_that_reads_what_the_one_before_wrote(first, folder, scaling):
    for command in (
        ("fit", "smallest.yaml", "--json"),
        ("recommend", "--fit", "results/smallest/fit.json", "--json"),
        ("compress", "smallest.yaml", "--json"),
        ("export", "smallest.yaml", "--json"),
        ("status", "smallest.yaml", "--json"),
    ):
        done = scaling(*command, cwd=folder)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert json.loads(done.stdout)


def test_a_diverged_run_is_a_row_and_the_sweep_goes_on(folder, scaling):
    done = scaling(
        "sweep", "smallest.yaml", "--jobs", "1", "--set", "optim.lr=1e6", "--set", "name=hot", "--json", cwd=folder
    )
    assert done.returncode in (0, 1), done.stderr
    table = load_runs(folder / "results" / "hot")
    assert len(table) == 8
    assert set(table.status) <= {"diverged", "done"}
    assert (table.status == "diverged").any()
    assert table.loss.isna().equals(table.status == "diverged")


INTERRUPTED = """
import gc, os, signal, sys
from scaling.cli import main

def callback(phase, _info):
    if "jax" in sys.modules:
        gc.callbacks.remove(callback)
        os.kill(os.getpid(), signal.SIGINT)

gc.callbacks.append(callback)
sys.argv = ["scaling", "verify", "smallest.yaml"]
main()
"""


def test_ctrl_c_in_a_collection_of_garbage_where_python_forgets_it_ends_verify_with_130(first, folder):
    ledger = folder / "results" / "ledger.csv"
    before = ledger.read_bytes()
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr or "KeyboardInterrupt" in done.stderr
    assert (done.stdout, ledger.read_bytes()) == ("", before)
