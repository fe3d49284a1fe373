"""After a miss the chain fits again and goes on to the next choice; it ends with what met the target, or why not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scaling.chain import run as chain
from scaling.chain.workspace import Workspace
from scaling.errors import InfeasibleError

TEXT = """\
name: tries
base: {{model: {{width: 32, context: 40}}, data: {{source: {{kind: w0}}}}, tokens: 10k}}
recommend: {{target_loss: 2, memory: 64MiB, tries: {tries}}}
"""


class Stages:
    """The stages of a chain whose students are widths, of which those in ``meeting`` meet the target."""

    def __init__(self, choices: list[int | Exception], meeting: set[int]):
        self.choices, self.meeting = list(choices), meeting
        self.tables: list[int] = []

    def collect(self, workspace, *, also=()):
        self.tables.append(len(also))
        return "table"

    def recommend(self, workspace, fit, *, force):
        choice = self.choices.pop(0)
        if isinstance(choice, Exception):
            raise choice
        run = SimpleNamespace(run_id=str(choice), model=SimpleNamespace(width=choice))
        return SimpleNamespace(run=run)

    def verify(self, workspace, fit, recommendation, bundle):
        met = recommendation.run.model.width in self.meeting
        return SimpleNamespace(target_met=met, passed=True, succeeded=met)


@pytest.fixture
def answer(tmp_path, monkeypatch):
    """Run the chain over made-up stages."""

    def ask(choices, meeting, tries=3):
        path = tmp_path / "tries.yaml"
        path.write_text(TEXT.format(tries=tries))
        stages = Stages(choices, meeting)
        outcome = SimpleNamespace(counts={"done": 1, "failed": 0}, trained=())
        monkeypatch.setattr(chain, "train_stage", lambda *_, **__: outcome)
        monkeypatch.setattr(chain, "collect_stage", stages.collect)
        monkeypatch.setattr(chain, "fit_stage", lambda *_, **__: SimpleNamespace(law="law"))
        monkeypatch.setattr(chain, "recommend_stage", stages.recommend)
        monkeypatch.setattr(chain, "verify_stage", stages.verify)
        monkeypatch.setattr(chain, "ledger_stage", lambda *_: {})
        monkeypatch.setattr(chain, "export_stage", lambda *_: SimpleNamespace(model_path=path, moved=None))
        monkeypatch.setattr(chain, "_chosen", lambda found: "")
        monkeypatch.setattr("scaling.sweep.warnings.edge_warning", lambda *_: None)
        workspace = Workspace.open(path, results=tmp_path / "results")
        monkeypatch.setattr(type(workspace.store), "load", lambda self, run_id: SimpleNamespace(spec=run_id))
        found = chain.run_chain(workspace)
        return found, [one.recommendation.run.model.width for one in found.tries], stages.tables

    return ask


def test_a_student_that_meets_the_target_ends_the_chain(answer):
    found, widths, tables = answer([32, 64], meeting={32})
    assert (widths, tables, found.ended, found.succeeded) == ([32], [0], "the target is met", True)


def test_after_a_miss_the_fit_holds_the_run_that_missed(answer):
    found, widths, tables = answer([32, 64, 96], meeting={96})
    assert (widths, tables, found.succeeded) == ([32, 64, 96], [0, 1, 2], True)


def test_it_ends_after_as_many_tries_as_were_allowed(answer):
    found, widths, _ = answer([32, 64, 96], meeting={96}, tries=2)
    assert (widths, found.succeeded) == ([32, 64], False)
    assert "none of 2 students met the target" in found.ended


def test_it_ends_where_nothing_else_can_meet_the_target(answer):
    found, widths, _ = answer([32, InfeasibleError("the floor is 3")], meeting=set())
    assert (widths, found.succeeded) == ([32], False)
    assert found.ended == "no further student can meet the target: the floor is 3"


def test_it_does_not_try_the_same_student_for_ever(answer):
    found, widths, _ = answer([32, 32, 32], meeting=set())
    assert (widths, found.ended) == ([32, 32], "the same student was recommended again")


def test_a_question_without_an_answer_at_the_first_try_is_an_error(answer):
    with pytest.raises(InfeasibleError):
        answer([InfeasibleError("the floor is 3")], meeting=set())
