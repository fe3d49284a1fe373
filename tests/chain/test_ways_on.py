"""A sweep whose runs show no floor is no dead end: its fit is written, and the next commands stand there literally."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest
from typer.testing import CliRunner

from scaling.chain.decision import fit_stage
from scaling.chain.training import plan_stage
from scaling.chain.workspace import Workspace
from scaling.cli import app
from scaling.errors import FitError
from scaling.fit.saved.files import load

TEXT = """\
name: own
base: {model: {context: 40}, data: {source: {kind: w0}}, optim: {batch_size: 8}}
grid: {model.width: [32, 64], tokens: [10k, 20k]}
fit: {law: chinchilla, bootstrap: 0}
recommend: {target_loss: 2, memory: 64MiB}
"""


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    (tmp_path / "own.yaml").write_text(TEXT)
    return Workspace.open(tmp_path / "own.yaml", results=tmp_path / "results").prepare()


@pytest.fixture
def table() -> pd.DataFrame:
    """Runs of a power law, whose floor is none."""
    rows = [
        {"width": width, "n_params": n, "n_tokens": d, "loss": 9 * n**-0.1 * (d / 1e4) ** -0.05, "status": "done"}
        for width, n in ((32, 3e4), (64, 1e5), (96, 2e5))
        for d in (10_000, 20_000, 40_000)
    ]
    return pd.DataFrame(rows).assign(teacher="real", trunk_id=lambda t: t.width.astype(str))


def test_a_fit_without_a_floor_is_written_and_the_ways_on_are_commands(workspace, table):
    said: list[str] = []
    found = fit_stage(workspace, table, say=said.append)
    assert not found.success
    assert load(workspace.fit_path).status.reasons == found.status.reasons
    commands = [line.split("#")[0] for line in "\n".join(said).splitlines() if line.startswith("  scaling ")]
    assert [shlex.split(command)[1] for command in commands] == ["fit", "fit", "plan"]
    assert any("--held E=" in command for command in commands)
    # The wider grid holds the runs that are there, under their ids.
    settings = [word for word in shlex.split(commands[2]) if "=[" in word]
    wider = Workspace.open(workspace.config.path, results=workspace.store.root, overrides=settings)
    assert {run.run_id for run in workspace.runs} < {run.run_id for run in wider.runs}
    for command in commands[2:]:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, done.exception


def test_a_table_that_no_law_can_be_found_for_is_still_an_error(workspace, table):
    with pytest.raises(FitError):
        fit_stage(workspace, table.head(1))
    assert not workspace.fit_path.exists()


def test_the_plan_says_beforehand_that_a_grid_will_hardly_show_a_floor(workspace, tmp_path):
    assert any("floor of the loss will hardly show" in warning for warning in plan_stage(workspace).warnings)
    wide = ["model.width=[32, 64, 128]", "tokens=[10k, 40k]"]
    opened = Workspace.open(tmp_path / "own.yaml", results=tmp_path / "results", overrides=wide)
    assert not any("floor of the loss" in warning for warning in plan_stage(opened).warnings)


def test_the_plan_warns_of_the_runs_that_the_fit_will_keep(workspace, tmp_path):
    def warnings(where: str) -> str:
        changes = ["model.width=[32, 64, 128]", f"fit.where={where}"]
        opened = Workspace.open(tmp_path / "own.yaml", results=tmp_path / "results", overrides=changes)
        return " ".join(plan_stage(opened).warnings)

    assert "N (model size)" not in warnings("loss < 3")
    assert "N (model size) has 2 levels" in warnings("width < 100 and loss < 3")
    assert "nothing to fit" in warnings("width > 1000")


def test_of_a_sweep_that_was_bought_in_part_the_other_runs_come_first(workspace, table):
    said: list[str] = []
    fit_stage(workspace, table.assign(run_id=[*(run.run_id for run in workspace.runs[:3]), *"abcdef"]), say=said.append)
    commands = [line.split("#") for line in "\n".join(said).splitlines() if line.startswith("  scaling ")]
    assert [shlex.split(command)[1] for command, _ in commands] == ["sweep", "fit"]
    assert commands[0][1].strip() == "trains what is left of it, 1 of 4 runs"
