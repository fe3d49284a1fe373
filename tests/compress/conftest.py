"""A student on disk that has just been initialised: what it knows does not matter here."""

from __future__ import annotations

import pytest

from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import DataSpec, EvalSpec, ModelSpec, RunSpec
from scaling.train.checkpoint import save_student
from scaling.train.student.model import Student


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("results")).prepare()


@pytest.fixture(scope="session")
def run(store) -> RunSpec:
    run = RunSpec(
        model=ModelSpec(vocab_size=65, width=32, n_layers=1, context=40),
        data=DataSpec.model_validate({"source": {"kind": "w0"}}),
        evaluation=EvalSpec(tokens=2560),
        tokens=10_000,
    )
    draft = store.draft(run.run_id)
    save_student(draft / "student", Student(run.model))
    store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=4.0, loss_se=0.1)), draft)
    return run
