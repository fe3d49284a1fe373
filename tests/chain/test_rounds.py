"""A budget is spent in rounds on the runs that decide; what the grid recommends is found for a part of its FLOPs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from scaling.accounting import count_parameters
from scaling.chain.rounds import next_runs_stage, train_in_rounds
from scaling.chain.workspace import Workspace
from scaling.cli import app
from scaling.config.sweep import FitOptions
from scaling.errors import ConfigError, SpecError
from scaling.laws.named import named_law
from scaling.numbers import parse_bytes
from scaling.predict.next_of_sweep import advise
from scaling.predict.question import Question
from scaling.records import Outcome, RunRecord, runs_table
from scaling.sweep.trunks import group

LAW = named_law("q1q2").with_values(
    {"E": 1.417, "A": 3.523, "B": 744.8, "alpha": 0.3165, "beta": 0.6502, "kappa": 1.0, "c": 1.48}
)
TEXT = """\
name: ladder
base:
  model: {n_layers: 2, context: 40}
  data: {source: {kind: w0}}
  optim: {batch_size: 8, warmup_tokens: 20k, cooldown: 0.2}
grid:
  model.width: [32, 64, 96, 128, 192, 256]
  data.teacher: [{kind: real}, {kind: noise, rate: 0.2}, {kind: noise, rate: 0.4}]
  tokens: [250k, 500k, 1M]
derive:
  optim.lr: {rule: width_power, base: 5e-3, base_width: 32, power: 1.0}
recommend: {teacher: {kind: noise, rate: 0.2}, target_loss: 1.73, memory: 64MiB, probability: 0.5}
"""


@dataclass(frozen=True)
class LawTrainer:
    """Trains by the law of the quickstart, with the scatter of its runs."""

    def prepare(self, specs, store, *, progress, should_stop) -> None:
        pass

    def train(self, specs, store, *, progress, should_stop) -> list[RunRecord]:
        return [self._record(spec, store) for spec in specs]

    def _record(self, spec, store) -> RunRecord:
        rate = getattr(spec.data.teacher, "rate", 0.0)
        delta = {0.0: 0.0, 0.2: 0.1143, 0.4: 0.3164}[rate]
        rng = np.random.default_rng(int(spec.run_id, 16))
        n = count_parameters(spec.model).n_params
        loss = float(LAW.loss(n=n, d=spec.n_tokens, delta_coverage=0.0, delta_noise=delta))
        outcome = Outcome(
            status="done",
            loss=loss * float(np.exp(0.004 * rng.standard_normal())),
            delta_coverage=0.0,
            delta_noise=delta,
            n_unique_tokens=spec.n_tokens,
        )
        record = RunRecord(spec=spec, outcome=outcome)
        store.commit(record)
        return record


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    path = tmp_path / "ladder.yaml"
    path.write_text(TEXT)
    return Workspace.open(path, results=tmp_path / "results").prepare()


def test_a_quarter_of_the_grid_decides_as_the_grid_does(workspace):
    whole = sum(trunk.flops for trunk in group(workspace.runs))
    lines: list[str] = []
    found = train_in_rounds(workspace, whole, say=lines.append, trainer=LawTrainer())
    assert found.ended == "the decision is settled"
    assert found.flops < 0.25 * whole
    assert "by the prior alone" in lines[1]
    assert "by the prior alone" not in lines[-1]
    assert len(lines) == len(found.outcomes) + 1
    # All runs decide the same.
    left = [run for run in workspace.runs if not workspace.store.has(run.run_id)]
    LawTrainer().train(left, workspace.store, progress=None, should_stop=None)
    assert next_runs_stage(workspace, 1e12).choice == found.last.choice


def test_a_budget_is_never_overspent_and_what_is_there_is_not_bought_again(workspace):
    first = train_in_rounds(workspace, 5e11, trainer=LawTrainer())
    assert first.flops <= 5e11
    assert len(first.trained) == len(set(first.trained)) > 0
    again = train_in_rounds(workspace, 1e11, trainer=LawTrainer())
    assert not set(again.trained) & set(first.trained)


def test_the_cheapest_trunk_of_the_text_comes_first_with_its_early_branches(workspace):
    advice = next_runs_stage(workspace, 1e13)
    assert {run.model.width for run in advice.runs} == {32}
    assert {run.tokens for run in advice.runs} == {250_000, 500_000, 1_000_000}
    assert {run.data.label for run in advice.runs} == {"noise 0.2"}
    with pytest.raises(SpecError, match="the cheapest trunk takes"):
        next_runs_stage(workspace, 1e9)


def test_a_target_far_from_every_size_is_settled_soon(workspace):
    trainer = LawTrainer()
    smallest = [run for run in workspace.runs if run.model.width == 32 and run.data.label == "noise 0.2"]
    trainer.train(smallest, workspace.store, progress=None, should_stop=None)
    table = runs_table(workspace.store.records(run.run_id for run in workspace.runs))
    easy = Question.of(workspace.config, target_loss=1.95)
    found = advise(easy, workspace.config, workspace.runs, table, flops=1e13)
    assert (found.settled, found.choice, found.runs) == (True, 32, ())


def test_a_sweep_whose_law_is_of_bits_of_a_byte_decides_by_them(workspace):
    text = [run for run in workspace.runs if run.data.label == "noise 0.2" and run.model.width < 128]
    LawTrainer().train(text, workspace.store, progress=None, should_stop=None)
    table = runs_table(workspace.store.records(run.run_id for run in text))
    in_bits = workspace.config.model_copy(update={"fit": FitOptions(loss="bits_per_byte")})
    found = [
        advise(Question.of(config, target_loss=target), config, workspace.runs, runs, flops=1e13, most_trunks=1)
        for config, target, runs in (
            (workspace.config, 1.73, table),
            (in_bits, 1.73 / 3, table.assign(bits_per_byte=table["loss"] / 3)),
        )
    ]
    assert found[0].runs == found[1].runs
    assert found[0].choice == found[1].choice


def test_a_memory_in_which_no_size_fits_is_refused_with_the_setting_that_fits(workspace):
    config = workspace.config
    with pytest.raises(
        SpecError, match=r"recommend.memory: got 1,048,576 bytes, .* takes [\d,]+ — .*--set (\S+)"
    ) as refused:
        advise(Question.of(config, memory_bytes=2**20), config, workspace.runs, runs_table([]), flops=1e13)
    key, _, size = str(refused.value).rpartition("--set ")[2].partition("=")
    assert key == "recommend.memory"
    enough = Question.of(config, memory_bytes=parse_bytes(size))
    assert advise(enough, config, workspace.runs, runs_table([]), flops=1e13).runs


def test_the_sweep_file_of_next_runs_trains_exactly_these(workspace, tmp_path):
    out = tmp_path / "next.yaml"
    arguments = ["next-runs", str(workspace.config.path), "--flops", "1e12", "--results", str(workspace.store.root)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout[done.stdout.index("{") :])
    written = Workspace.open(out, results=workspace.store.root)
    assert [run.run_id for run in written.runs] == said["runs"]
    assert written.config.recommend == workspace.config.recommend
    assert yaml.safe_load(out.read_text())["name"] == "ladder-next"


def test_next_runs_need_a_question(tmp_path):
    path = Path(tmp_path / "plain.yaml")
    path.write_text(TEXT[: TEXT.index("recommend")])
    done = CliRunner().invoke(app, ["next-runs", str(path), "--flops", "1e12", "--results", str(tmp_path / "results")])
    assert isinstance(done.exception, ConfigError)
    assert "recommend: missing" in str(done.exception)


def test_runs_that_the_fit_will_leave_out_are_no_evidence(workspace):
    trainer = LawTrainer()
    text = [run for run in workspace.runs if run.data.label == "noise 0.2"]
    trainer.train(text, workspace.store, progress=None, should_stop=None)
    table = runs_table(workspace.store.records(run.run_id for run in text))
    question = Question.of(workspace.config)
    one, none = (
        workspace.config.model_copy(update={"fit": FitOptions(where=f"width <= {width}")}) for width in (32, 16)
    )
    assert advise(question, workspace.config, workspace.runs, table, flops=1e13).settled
    assert not advise(question, one, workspace.runs, table, flops=1e13).settled
    with pytest.raises(SpecError, match="none counts"):
        advise(question, none, workspace.runs, table, flops=1e13)


def test_runs_that_went_on_from_other_weights_are_neither_evidence_nor_offered(workspace, tmp_path):
    path = tmp_path / "other.yaml"
    start = "  start_from: {data: {source: {kind: w0}, teacher: {kind: noise, rate: 0.4}}, tokens: 250k}\n"
    path.write_text(TEXT.replace("grid:", f"{start}grid:"))
    aside = [run for run in Workspace.open(path, results=tmp_path / "other").runs if run.data.label == "noise 0.2"]
    trainer, question = LawTrainer(), Question.of(workspace.config)
    mine: list[str] = []
    trainer.train(aside, workspace.store, progress=None, should_stop=None)

    def next_of(runs, trained):
        table = runs_table(workspace.store.records(trained))
        return advise(question, workspace.config, runs, table, flops=1e13, most_trunks=1)

    # Beside any number of rounds of runs that count: all of the others are trained, or none is.
    for _ in range(3):
        alone = next_of(workspace.runs, mine)
        for others in ([], [run.run_id for run in aside]):
            assert next_of([*workspace.runs, *aside], [*mine, *others]) == alone
        trainer.train(alone.runs, workspace.store, progress=None, should_stop=None)
        mine += [run.run_id for run in alone.runs]


def test_runs_that_the_fit_will_leave_out_are_not_offered(workspace):
    def offered(where: str | None) -> set[str]:
        config = workspace.config.model_copy(update={"fit": FitOptions(where=where)})
        table = runs_table(workspace.store.records(run.run_id for run in workspace.runs))
        found = advise(Question.of(config), config, workspace.runs, table, flops=1e13)
        return {run.run_id for run in found.runs}

    # The cheapest training that counts is not the cheapest of all.
    wide = {run.run_id for run in workspace.runs if run.model.width > 64}
    assert offered("width > 64 and loss < 3") <= wide
    assert not offered(None) & wide
    with pytest.raises(SpecError, match="no run of the text that is asked about is left"):
        offered("n_params < 1000")
    # Where some are trained: whatever would be bought next is not, if it is left out.
    some = [run for run in workspace.runs if run.model.width in (32, 96) and run.n_tokens < 600_000]
    LawTrainer().train(some, workspace.store, progress=None, should_stop=None)
    bought = offered(None)
    assert bought
    assert not offered(f"run_id not in {sorted(bought)} and loss < 3") & bought
