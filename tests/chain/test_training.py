"""The stage that trains the recommended student: it has a result of its own, or the command says which has none."""

from __future__ import annotations

import pytest

from scaling.chain.training import train_stage
from scaling.chain.workspace import Workspace
from scaling.errors import RecordError
from scaling.records import Outcome, RunRecord
from scaling.spec import RunSpec

TEXT = """\
name: s
base: {model: {width: 32, n_layers: 1}, data: {source: {kind: w0}}, optim: {batch_size: 8}, tokens: 10k}
list:
  - {model.width: 32}
  - {data.teacher: {kind: net, run: {model: {width: 64, n_layers: 1}, tokens: 20k}}}
  - {start_from: {data: {source: {kind: w0, seed: 5}}, model: {width: 32, n_layers: 1}, tokens: 20k}}
"""
PLAIN, TAUGHT, STARTED = range(3)


class Ends:
    """A trainer whose runs end as they are told to: what is not named is done."""

    def __init__(self, ends: dict[str, str | Exception]):
        self.ends = ends

    def prepare(self, specs, store, *, progress, should_stop):
        pass

    def train(self, specs, store, *, progress, should_stop):
        return [store.commit(RunRecord(spec=one, outcome=self.outcome(one))) for one in specs]

    def outcome(self, run: RunSpec) -> Outcome:
        status = self.ends.get(run.run_id, "done")
        error = "ValueError: a weight is lost" if status == "failed" else None
        return Outcome(status=status, loss=1.7 if status == "done" else None, error=error)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    (tmp_path / "s.yaml").write_text(TEXT)
    return Workspace.open(tmp_path / "s.yaml", results=tmp_path / "results").prepare()


@pytest.mark.parametrize("which", [PLAIN, TAUGHT, STARTED])
@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_student_without_a_result_is_named_whoever_was_trained_for_it_on_the_way(workspace, which, status):
    run = workspace.runs[which]
    why = {"diverged": "its loss diverged", "failed": f"run {run.run_id} failed: ValueError: a weight is lost"}[status]
    with pytest.raises(RecordError, match=f"student {run.run_id} has no result — {why}.*; lower its learning rate"):
        train_stage(workspace, runs=[run], trainer=Ends({run.run_id: status}))


@pytest.mark.parametrize("which", [PLAIN, TAUGHT, STARTED])
def test_a_student_that_is_done_ends_the_stage_well(workspace, which):
    outcome = train_stage(workspace, runs=[workspace.runs[which]], trainer=Ends({}))
    assert (outcome.exit_code, outcome.counts["done"]) == (0, 1 if which == PLAIN else 2)


def test_a_student_whose_teacher_diverged_waits_for_that_one(workspace):
    run = workspace.runs[TAUGHT]
    with pytest.raises(RecordError, match=f"{run.run_id} has no result — its teacher or start has none: it diverged"):
        train_stage(workspace, runs=[run], trainer=Ends({run.data.teacher.run.run_id: "diverged"}))


def test_of_several_students_each_without_a_result_is_named(workspace):
    lost = {workspace.runs[PLAIN].run_id: "diverged", workspace.runs[STARTED].run_id: "failed"}
    with pytest.raises(RecordError) as error:
        train_stage(workspace, runs=workspace.runs, trainer=Ends(lost))
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert all(run_id in line for run_id, line in zip(lost, lines, strict=True))
