"""A relative target: students of the sweep itself say what it is, and the question keeps the number with its basis."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.chain.keyboard import KEYBOARD
from scaling.chain.keystrokes import keystrokes_of
from scaling.chain.target import ask, measured_target, reference_runs
from scaling.chain.training import plan_stage
from scaling.chain.workspace import Workspace
from scaling.config.load import load_sweep
from scaling.config.sweep import FitOptions
from scaling.errors import ConfigError, RecordError, SpecError
from scaling.fit.prediction import Prediction
from scaling.predict.measured import configuration
from scaling.predict.question import Question
from scaling.records import Outcome, RunRecord

TEXT = """\
name: own
base: {{model: {{context: 40}}, data: {{source: {{kind: w0}}}}, optim: {{batch_size: 8}}}}
grid:
  model.width: [32, 64]
  data.teacher: [{{kind: real}}, {{kind: noise, rate: 0.2}}]
  tokens: [10k, 20k]
seeds: 2
recommend: {{{recommend}, memory: 64MiB}}
"""
FIT = Path(__file__).parents[1] / "predict" / "first_layout" / "fit.json"
RELATIVE = "target: {like: {width: 64}, within: 0.02}"


def opened(tmp_path, recommend: str = RELATIVE) -> Workspace:
    (tmp_path / "own.yaml").write_text(TEXT.format(recommend=recommend))
    return Workspace.open(tmp_path / "own.yaml", results=tmp_path / "results")


def train(workspace: Workspace, losses: list[float]) -> None:
    """Commit records of the students that the target is relative to."""
    target = workspace.config.recommend.target
    store = workspace.store.prepare()
    for run, loss in zip(reference_runs(workspace, target), losses, strict=False):
        store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=loss)))


def test_the_students_are_one_size_at_the_largest_volume_of_real_text_in_all_seeds(tmp_path):
    workspace = opened(tmp_path)
    found = reference_runs(workspace, workspace.config.recommend.target)
    assert {(run.model.width, run.tokens, run.data.label) for run in found} == {(64, 20_000, "real")}
    assert {run.seed for run in found} == {0, 1}


def test_the_number_is_the_mean_over_seeds_and_what_may_be_lost_beside_it(tmp_path):
    workspace = opened(tmp_path)
    train(workspace, [2.0, 2.42])
    question = ask(workspace)
    assert question.target_loss == pytest.approx(1.02 * 2.2)
    assert (
        question.target_basis
        == "width 64 on 19,840 tokens of real text: 2.2000, mean of 2 seeds; 0.02 of it may be lost"
    )
    assert Question.from_json(question.to_json()) == question


def test_a_number_that_is_asked_for_stands_before_the_relative_target_of_the_file(tmp_path):
    question = ask(opened(tmp_path), target_loss=1.8)
    assert (question.target_loss, question.target_basis) == (1.8, None)


def test_without_its_students_the_target_is_not_known_and_the_command_that_trains_them_is_printed(tmp_path):
    with pytest.raises(RecordError, match="scaling sweep .*own.yaml"):
        ask(opened(tmp_path))


def test_a_file_with_a_number_has_no_relative_target(tmp_path):
    with pytest.raises(RecordError, match="no relative target"):
        measured_target(opened(tmp_path, "target_loss: 2"))


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ("{width: 96}", r"like\.width: got 96, on that text are \[32, 64\]"),
        ("{width: 64, tokens: 30k}", r"like\.tokens: got 30,000, at that width are \[10000, 20000\]"),
        ("{width: 64, teacher: {kind: ngram}}", r"like\.teacher: matches none of noise 0\.2, real"),
        ("{width: 64, teacher: {}}", r"like\.teacher: matches several kinds of students"),
    ],
)
def test_students_that_the_sweep_does_not_train_are_refused_by_the_plan(tmp_path, like, said):
    with pytest.raises(ConfigError, match=rf"own\.yaml:8:.*{said}"):
        plan_stage(opened(tmp_path, f"target: {{like: {like}}}"))


def test_a_question_that_an_earlier_command_changed_is_told_to_whoever_asks_after_it(tmp_path, scaling):
    source = opened(tmp_path, "target_loss: 2.5").config.path
    first = Workspace.open(source, results=tmp_path / "results").prepare()
    assert Workspace.open(first.folder).asked_otherwise() is None
    changed = Workspace.open(source, results=tmp_path / "results", overrides=["recommend.target_loss=2.4"]).prepare()
    assert Workspace.open(changed.folder).asked_otherwise() == str(source)
    assert Workspace.open(source, results=tmp_path / "results").asked_otherwise() is None
    shutil.copy(FIT, changed.fit_path)
    said = scaling("recommend", "--fit", str(changed.fit_path), cwd=tmp_path).stderr
    assert f"{source} asks otherwise: --sweep {source}" in said
    (tmp_path / "own.yaml").write_text("no sweep any more")
    assert Workspace.open(changed.folder).asked_otherwise() is None


NET = "{kind: net, run: {model: {width: 64, n_layers: 1}, tokens: 20k}}"


@pytest.mark.parametrize(
    ("other", "where"),
    [
        ("start_from: {data: {source: {kind: w0, seed: 5}}, tokens: 20k}", "start_from"),
        ("evaluation.seed: 3", "evaluation"),
        ("evaluation.tokens: 5000", "evaluation"),
        ("distill: {kind: soft}", "distill"),
        ("optim.lr: 0.002", "optim"),
        ("model.n_layers: 3", "model"),
        ("optim.batch_size: 4, evaluation.seed: 3", "evaluation, optim"),
    ],
)
def test_students_that_differ_in_more_than_their_seeds_are_no_seeds_of_one(tmp_path, other, where):
    (tmp_path / "own.yaml").write_text(
        "name: own\nbase: {model: {width: 32, context: 40, n_layers: 1}, optim: {batch_size: 8}, tokens: 10k,\n"
        f"  data: {{source: {{kind: w0}}, teacher: {NET}}}}}\nlist:\n  - {{model.width: 32}}\n  - {{{other}}}\n"
        "seeds: 2\nrecommend: {target: {like: {width: 32, teacher: {}}}, memory: 64MiB}\n"
    )
    workspace = Workspace.open(tmp_path / "own.yaml", results=tmp_path / "results")
    assert len(workspace.runs) == 4
    with pytest.raises(ConfigError, match=f"matches several kinds of students, which differ in {where} — name"):
        reference_runs(workspace, workspace.config.recommend.target)
    one = replace(
        workspace, runs=tuple(run for run in workspace.runs if configuration(run) == configuration(workspace.runs[0]))
    )
    assert len(reference_runs(one, workspace.config.recommend.target)) == 2


@pytest.mark.parametrize("recommend", ["probability: 0.9", f"target_loss: 2, {RELATIVE}"])
def test_a_question_has_one_target(tmp_path, recommend):
    (tmp_path / "own.yaml").write_text(TEXT.format(recommend=recommend))
    with pytest.raises(ConfigError, match="needed is one, got (none|target_loss and target)"):
        load_sweep(tmp_path / "own.yaml")


def typed(workspace: Workspace) -> None:
    """A table of students whose savings are 0.8/(1 + (bits/2)^1.5) exactly, 2 bytes a token."""
    bits = np.linspace(1.8, 2.4, 8)
    table = pd.DataFrame({"bits_per_byte": bits, "loss": bits * 2 * np.log(2), "savings_se": 0.01, "ceiling": 0.8})
    workspace.prepare()
    table.assign(savings=0.8 / (1 + (bits / 2) ** 1.5)).to_csv(workspace.folder / KEYBOARD, index=False)


def test_a_target_in_keystrokes_is_the_loss_at_which_students_save_them(tmp_path):
    workspace = opened(tmp_path, "target_savings: 25%")
    typed(workspace)
    question = ask(workspace)
    bits = 2 * (0.55 / 0.25) ** (1 / 1.5)
    assert question.target_loss == pytest.approx(bits * 2 * np.log(2))
    assert question.target_savings == 0.25
    assert question.target_basis == (
        f"25.0% of keystrokes with P ≥ 0.9: {bits:.4f} bits/byte, where 8 students say 25.0% [25.0%, 25.0%]"
    )
    assert Question.from_json(question.to_json()) == question
    # What is asked stands before what the file says, and a loss before both.
    assert ask(workspace, target_savings=0.3).target_loss < question.target_loss
    assert ask(workspace, target_loss=3.0).target_savings is None
    with pytest.raises(SpecError, match="one target is needed, got both"):
        ask(workspace, target_loss=3.0, target_savings=0.3)


def test_a_loss_that_is_forecast_is_told_in_keystrokes(tmp_path):
    workspace = opened(tmp_path, "target_savings: 25%")
    typed(workspace)
    loss = Prediction(*(bits * 2 * np.log(2) for bits in (2.0, 1.9, 2.2)), level=0.9, scale=0.05, reach={})
    found = keystrokes_of(workspace).of_loss(loss)
    saved = [0.8 / (1 + (bits / 2) ** 1.5) for bits in (2.0, 2.2, 1.9)]
    assert (found.value, found.low, found.high) == pytest.approx(tuple(saved))


def test_bits_of_students_that_the_fit_leaves_out_do_not_tell_how_long_its_tokens_are(tmp_path):
    workspace = opened(tmp_path, "target_savings: 25%")
    typed(workspace)
    path = workspace.folder / KEYBOARD
    table = pd.read_csv(path).assign(run_id=[f"short {i}" for i in range(8)])
    longer = table.assign(loss=2 * table["loss"], run_id=[f"long {i}" for i in range(8)])
    pd.concat([table, longer, longer.assign(run_id=[f"also {i}" for i in range(8)])]).to_csv(path, index=False)
    vocab = [257] * 8 + [1024] * 8
    runs = pd.DataFrame({"run_id": [*table["run_id"], *longer["run_id"]], "vocab_size": vocab})
    runs.to_parquet(workspace.table_path)
    for size, per_bit in ((257, 2 * np.log(2)), (1024, 4 * np.log(2))):
        options = FitOptions(where=f"vocab_size == {size}")
        of_one = replace(workspace, config=workspace.config.model_copy(update={"fit": options}))
        assert keystrokes_of(of_one).per_bit == pytest.approx(per_bit)
    none = workspace.config.model_copy(update={"fit": FitOptions(where="vocab_size == 5")})
    with pytest.raises(RecordError, match="none of the students that typed is left"):
        keystrokes_of(replace(workspace, config=none))


def test_keystrokes_are_refused_where_no_student_has_typed_or_nobody_types(tmp_path):
    workspace = opened(tmp_path, "target_savings: 0.25")
    with pytest.raises(RecordError, match=r"no savings were measured.*scaling keyboard"):
        ask(workspace)
    with pytest.raises(ConfigError, match=r"own\.yaml:8:.*only text is typed"):
        plan_stage(workspace)
    with pytest.raises(ConfigError, match="target_savings"):
        opened(tmp_path, "target_savings: 125%")
