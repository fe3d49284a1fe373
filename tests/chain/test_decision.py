"""A stage reads what the stage before wrote; where that is missing or of another fit, it says what to run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from scaling.chain.decision import load_fit, load_recommendation, recommend_stage, trained
from scaling.chain.keyboard import KEYBOARD
from scaling.chain.keystrokes import keystrokes_of, savings_of
from scaling.chain.workspace import Workspace
from scaling.cli.stages import train
from scaling.config.expand import Expansion
from scaling.errors import RecordError
from scaling.predict.ask import recommend
from scaling.predict.kept import load
from scaling.predict.question import Question
from scaling.records import Outcome, RunRecord
from scaling.sweep.run import SweepOutcome

ROOT = Path(__file__).parents[2]
FIRST_LAYOUT = ROOT / "tests" / "predict" / "first_layout"


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """The quickstart of before with a fit of its runs, without the runs."""
    opened = Workspace.open(FIRST_LAYOUT / "quickstart.yaml", results=tmp_path / "my results").prepare()
    shutil.copy(FIRST_LAYOUT / "fit.json", opened.fit_path)
    return opened


def files(workspace: Workspace) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in workspace.store.root.rglob("*") if path.is_file()}


def test_what_was_recommended_is_read_and_not_computed_again(workspace, monkeypatch):
    asked = Question.of(workspace.config, target_loss=1.75, memory_bytes=2**25)
    written = recommend_stage(workspace, load_fit(workspace), asked)
    monkeypatch.setattr("scaling.predict.recommend.recommendation.score", None)
    before = files(workspace)
    assert load_recommendation(workspace) == written
    assert load(workspace.recommendation_path).run == written.run
    assert load_recommendation(workspace).question.memory_bytes == 2**25
    assert files(workspace) == before


def test_a_student_trained_beside_the_sweep_is_measured_for_who_asks_again_and_a_forecast_for_the_ledger(
    workspace, scaling
):
    asked = Question.of(workspace.config, target_loss=1.74, memory_bytes=2**25)
    forecast = recommend_stage(workspace, load_fit(workspace), asked)
    assert forecast.run.run_id not in {run.run_id for run in workspace.runs}
    missed = Outcome(status="done", loss=1.8, loss_se=0.001)
    workspace.store.commit(RunRecord(spec=forecast.run, outcome=missed))
    # The chain goes on with what was forecast before the student was there, so that the ledger scores it.
    assert recommend_stage(workspace, load_fit(workspace), asked) == forecast
    asking = ("recommend", "--fit", str(workspace.fit_path), "--memory", "32MiB", "--json", "--target-loss")
    strict, lax = (json.loads(scaling(*asking, loss, cwd=workspace.folder).stdout) for loss in ("1.74", "1.85"))
    assert strict["choice"]["run"]["model"]["width"] > forecast.run.model.width
    losses = {one["run"]["model"]["width"]: one["measured"] for one in (lax["choice"], *lax["runners_up"])}
    assert losses[forecast.run.model.width]["loss"] == 1.8


def test_a_notebook_is_answered_from_what_was_measured_as_the_command_is(workspace, scaling):
    asked = Question.of(workspace.config, target_loss=1.74, memory_bytes=2**25)
    fit = load_fit(workspace)
    beside = recommend_stage(workspace, fit, asked).run
    # A student trained beside the sweep, which missed, and what rounding cost it.
    workspace.store.commit(RunRecord(spec=beside, outcome=Outcome(status="done", loss=1.8, loss_se=0.001)))
    costs = {"n_params": 1e5, "n_tokens": 1e6, "bits": 8, "damage": 0.011, "damage_se": 0.001}
    ends = {"run_id": beside.run_id, "damage_low": 0.01, "damage_high": 0.012}
    pd.DataFrame([costs | ends]).to_csv(workspace.folder / "damage.csv", index=False)
    asking = ("recommend", "--fit", str(workspace.fit_path), "--memory", "32MiB", "--json", "--target-loss")
    for loss in (1.74, 1.85):
        said = json.loads(scaling(*asking, str(loss), cwd=workspace.folder).stdout)
        found = recommend(
            fit, sweep=workspace.config, results=workspace.store.root, target_loss=loss, memory_bytes="32MiB"
        )
        told = {one.run.model.width: one.measured and one.measured.loss for one in (found.choice, *found.runners_up)}
        others = {
            one["run"]["model"]["width"]: one["measured"] and one["measured"]["loss"]
            for one in (said["choice"], *said["runners_up"])
        }
        assert told == others
        roundings = {one.run.model.width: one.rounding.source for one in (found.choice, *found.runners_up)}
        assert found.run.model.width == said["choice"]["run"]["model"]["width"]
    assert told[beside.model.width] == 1.8
    assert roundings[beside.model.width] == "measured of this run, damage.csv of this sweep"


def test_after_a_miss_in_keystrokes_what_was_typed_decides_and_not_what_the_loss_says(workspace):
    bits = np.linspace(1.5, 1.9, 8)
    savings = 0.8 / (1 + (bits / 2) ** 1.5)
    table = pd.DataFrame({"run_id": "other", "model": "student", "format": "gguf", "bits_per_byte": bits})
    table = table.assign(loss=bits, savings=savings, savings_se=0.01, ceiling=0.8)
    asked = Question.of(workspace.config, target_loss=1.75, memory_bytes=2**25, target_savings=0.4)
    # Chosen by its loss; trained, it is as good as was forecast, and types worse than its loss says.
    table.to_csv(workspace.folder / KEYBOARD, index=False)
    first = recommend_stage(workspace, load_fit(workspace), asked)
    assert first.savings.value == pytest.approx(keystrokes_of(workspace).of_loss(first.choice.expected).value)
    loss = first.prediction.value
    workspace.store.commit(RunRecord(spec=first.run, outcome=Outcome(status="done", loss=loss)))
    pd.DataFrame({"run_id": [first.run.run_id]}).to_parquet(workspace.table_path)
    assert recommend_stage(workspace, load_fit(workspace), asked).run == first.run
    typed = {"run_id": first.run.run_id, "model": "student", "format": "gguf", "bits_per_byte": loss, "loss": loss}
    for share, same in ((0.41, True), (0.39, False)):
        row = pd.DataFrame([typed | {"savings": share, "savings_se": 0.01, "ceiling": 0.8}])
        pd.concat([table, row]).to_csv(workspace.folder / KEYBOARD, index=False)
        found = recommend_stage(workspace, load_fit(workspace), asked)
        assert (found.run == first.run) is same
    assert found.run.model.width > first.run.model.width
    assert savings_of(workspace, "gguf")[first.run.run_id] == 0.39
    # Of the rows of another format nothing follows.
    assert savings_of(workspace, "gguf_q4_0") == {}


def test_a_sweep_whose_damage_was_measured_is_recommended_by_it(workspace):
    asked = Question.of(workspace.config, target_loss=1.75, memory_bytes=2**25)
    by_tables = recommend_stage(workspace, load_fit(workspace), asked).choice
    shutil.copy(ROOT / "results" / "reference" / "damage.csv", workspace.folder / "damage.csv")
    found = recommend_stage(workspace, load_fit(workspace), asked).choice
    assert "damage.csv of this sweep" in found.rounding.source
    assert "results/reference" in by_tables.rounding.source
    assert found.rounding.nats != by_tables.rounding.nats
    assert load_recommendation(workspace).choice == found


def test_without_a_recommendation_the_command_that_makes_one_is_told(workspace):
    before = files(workspace)
    with pytest.raises(RecordError) as caught:
        load_recommendation(workspace)
    assert f"scaling recommend --fit '{workspace.fit_path}'" in str(caught.value)
    assert files(workspace) == before


def test_a_recommendation_of_another_fit_is_refused_and_left_alone(workspace):
    recommend_stage(workspace, load_fit(workspace))
    workspace.fit_path.write_text(workspace.fit_path.read_text().replace('"n_runs": 36', '"n_runs": 37'))
    before = files(workspace)
    with pytest.raises(RecordError, match="nothing was changed — ask anew: scaling recommend --fit"):
        load_recommendation(workspace)
    assert files(workspace) == before


def test_a_recommendation_of_the_first_layout_is_taken_for_that_of_the_fit_beside_it(workspace):
    shutil.copy(FIRST_LAYOUT / "recommendation.json", workspace.recommendation_path)
    found = load_recommendation(workspace)
    assert found.run.run_id == "a9bf8e96d2"
    assert found.fit_id == recommend_stage(workspace, load_fit(workspace)).fit_id


def test_a_student_that_is_not_trained_yet_names_the_command_that_trains_it(workspace):
    found = recommend_stage(workspace, load_fit(workspace))
    with pytest.raises(RecordError, match=r"is not trained yet — train it: scaling train .*quickstart\.yaml"):
        trained(workspace, found)
    workspace.store.commit(RunRecord(spec=found.run, outcome=Outcome(status="diverged")))
    with pytest.raises(RecordError, match="diverged; lower its learning rate"):
        trained(workspace, found)


def test_a_recommended_student_whose_training_fails_ends_the_command_with_1(workspace, monkeypatch):
    recommend_stage(workspace, load_fit(workspace))
    outcome = SweepOutcome(counts={"failed": 1}, trained=(), failures=(), blocked=(), exit_code=1, wall_s=1.0)
    monkeypatch.setattr("scaling.chain.training.train_stage", lambda *_, **__: outcome)
    with pytest.raises(typer.Exit) as end:
        train(workspace.config.path, results=workspace.store.root)
    assert end.value.exit_code == 1


def test_without_a_fit_the_command_that_makes_one_is_told(workspace):
    workspace.fit_path.unlink()
    for read in (load_fit, load_recommendation):
        with pytest.raises(RecordError, match=r"make it: scaling fit .*quickstart\.yaml --results '.*my results'"):
            read(workspace)


def test_the_answer_is_that_of_the_first_layout(workspace):
    """Same fit, same question, same sweep: the same student as the program of before recommended."""
    asked = Question.of(workspace.config, probability=0.5)
    found = recommend_stage(workspace, load_fit(workspace), asked)
    shutil.copy(FIRST_LAYOUT / "recommendation.json", workspace.recommendation_path)
    assert found.run == load_recommendation(workspace).run


def test_a_sweep_is_expanded_once(tmp_path, monkeypatch):
    calls, expand = [], Expansion.runs
    monkeypatch.setattr(Expansion, "runs", lambda self: calls.append(self.config.name) or expand(self))
    workspace = Workspace.open(FIRST_LAYOUT / "quickstart.yaml", results=tmp_path).prepare()
    shutil.copy(FIRST_LAYOUT / "fit.json", workspace.fit_path)
    recommend_stage(workspace, load_fit(workspace))
    # The second expansion is that of the candidates, which are another sweep.
    assert calls == ["quickstart", "quickstart"]


def test_a_student_whose_weights_were_changed_since_is_no_longer_the_one_recommended(workspace):
    found = recommend_stage(workspace, load_fit(workspace))
    draft = workspace.store.draft(found.run.run_id)
    (draft / "student").mkdir()
    (draft / "student" / "weights").write_bytes(b"weights")
    workspace.store.commit(RunRecord(spec=found.run, outcome=Outcome(status="done", loss=1.7)), draft)
    assert trained(workspace, found) == found
    (workspace.store.student_dir(found.run.run_id) / "weights").write_bytes(b"weighty")
    with pytest.raises(RecordError, match="not as it was trained: .*its content is not what its record says"):
        trained(workspace, found)
