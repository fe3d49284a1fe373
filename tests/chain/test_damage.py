"""The stage that measures damage: what is there is not measured again, and nothing that was measured is lost."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import scaling.compress.damage as measuring
from scaling.chain.damage import PART, damage_stage
from scaling.chain.decision import rounding_of
from scaling.chain.workspace import Workspace
from scaling.predict.damage import DAMAGE
from scaling.records import Outcome, RunRecord
from scaling.spec import DataSpec

TEXT = """\
name: four
base: {model: {width: 32, n_layers: 1}, data: {source: {kind: w0}}, optim: {batch_size: 8}}
grid: {tokens: [10k, 20k, 40k, 80k]}
recommend: {target_loss: 2, memory: 64MiB}
"""


class Rounding:
    """Stands in for the measurement: which it was asked, and each answer its own; at a given one it is stopped."""

    def __init__(self):
        self.asked: list[tuple[str, int]] = []
        self.stops_in = -1

    def __call__(self, run, store, bits) -> pd.DataFrame:
        if self.stops_in == 0:
            raise KeyboardInterrupt
        self.stops_in -= 1
        self.asked += [(run.run_id, one) for one in bits]
        damage = [len(self.asked) + i / 10 for i, _ in enumerate(bits)]
        facts = {"bits": list(bits), "loss": 4.0, "damage": damage, "damage_se": 0.01}
        return pd.DataFrame(facts).assign(damage_low=0.0, damage_high=99.0)


@pytest.fixture
def four(tmp_path, monkeypatch) -> tuple[Workspace, Rounding]:
    (tmp_path / "four.yaml").write_text(TEXT)
    found, rounding = Workspace.open(tmp_path / "four.yaml", results=tmp_path / "results").prepare(), Rounding()
    for run in found.runs:
        found.store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=4.0)))
    monkeypatch.setattr(measuring, "damage_of_run", rounding)
    return found, rounding


def measure(workspace: Workspace, runs=None, **asked) -> pd.DataFrame:
    runs = workspace.runs if runs is None else runs
    return damage_stage(workspace.store, runs, folder=workspace.folder, **asked).table


def written(workspace: Workspace, name: str = DAMAGE) -> dict[tuple, float]:
    """Damage of a file by run and bits; each row is there once."""
    path = workspace.folder / name
    if not path.exists():
        return {}
    table = pd.read_csv(path)
    assert not table.duplicated(["run_id", "bits"]).any()
    return {(row["run_id"], row["bits"]): row["damage"] for row in table.to_dict("records")}


def test_one_new_run_is_measured_alone(four):
    workspace, rounding = four
    measure(workspace, workspace.runs[:3])
    before, rounding.asked[:] = written(workspace), []
    found = measure(workspace)
    assert {run_id for run_id, _ in rounding.asked} == {workspace.runs[3].run_id}
    assert before.items() <= written(workspace).items()
    assert len(found) == len(written(workspace)) == 24


def test_one_width_is_told_of_a_table_of_six_and_replaces_none(four):
    workspace, rounding = four
    measure(workspace)
    before, rounding.asked[:] = written(workspace), []
    found = measure(workspace, bits=(2,))
    assert rounding.asked == []
    assert found["bits"].tolist() == [2] * 4
    assert written(workspace) == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_was_measured_is_lost_whatever_is_asked_and_stopped_in_which_order(four, seed):
    workspace, rounding = four
    rng, known = np.random.default_rng(seed), set()
    for _ in range(8):
        some = [run for run in workspace.runs if rng.random() < 0.6] or list(workspace.runs)
        bits = tuple(int(one) for one in rng.choice([2, 3, 4, 8], rng.integers(1, 4), replace=False))
        due = {run.run_id for run in some if not {(run.run_id, one) for one in bits} <= known}
        rounding.asked[:], rounding.stops_in = [], int(rng.integers(0, 6))
        with suppress(KeyboardInterrupt):
            measure(workspace, some, bits=bits)
            assert not (workspace.folder / PART).exists()
        assert {run_id for run_id, _ in rounding.asked} <= due
        known |= set(rounding.asked)
        # What was stopped lies beside the table, which holds what is whole.
        assert set(written(workspace)) | set(written(workspace, PART)) == known


def test_what_was_measured_on_a_text_that_the_sweep_read_before_does_not_count(four):
    workspace, _ = four
    old = workspace.runs[0].model_copy(update={"data": DataSpec.model_validate({"source": {"kind": "w0", "seed": 7}})})
    workspace.store.commit(RunRecord(spec=old, outcome=Outcome(status="done", loss=4.0)))
    before = replace(workspace, runs=(old,))
    measure(before)
    own, other = rounding_of(before), rounding_of(workspace)
    assert "damage.csv of this sweep" in own(workspace.runs[0], "Q8_0").source
    assert "damage.csv of this sweep" not in other(workspace.runs[0], "Q8_0").source
    assert set(written(workspace)) == {(old.run_id, bits) for bits in measuring.BITS}
