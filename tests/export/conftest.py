"""A student on disk that has learned nothing, what was forecast of it, and the fit that did."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.data.evaluation import evaluation_sets
from scaling.fit.prediction import Prediction
from scaling.predict.phones.footprint import Footprint, footprint
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import Candidate
from scaling.predict.recommend.recommendation import Recommendation
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import DataSpec, EvalSpec, ModelSpec, RunSpec
from scaling.train.checkpoint import save_student
from scaling.train.evaluate import evaluate
from scaling.train.student.model import Student, from_tensors, to_tensors

MODEL = ModelSpec(vocab_size=65, width=32, n_layers=1, context=40)


def uneven(student: Student, seed: int = 0) -> Student:
    """A student whose gains differ, as training leaves them; where all are one, converters leave them out."""
    rng = np.random.default_rng(seed)
    tensors = {
        name: tensor * rng.uniform(0.9, 1.1, tensor.shape).astype(np.float32) if tensor.ndim == 1 else tensor
        for name, tensor in to_tensors(student).items()
    }
    return from_tensors(student.model, tensors)


@pytest.fixture(scope="session")
def committed():
    """Commit a run whose student has just been initialised: what it knows does not matter here, that it is measured
    does."""

    def commit(store: RunStore, seed: int) -> RunSpec:
        run = RunSpec(
            model=MODEL,
            data=DataSpec.model_validate({"source": {"kind": "w0"}}),
            evaluation=EvalSpec(tokens=2560),
            tokens=10_000,
            seed=seed,
        )
        student = uneven(Student(MODEL, seed))
        draft = store.draft(run.run_id)
        save_student(draft / "student", student)
        measured = evaluate(student, evaluation_sets(run, store).real)
        outcome = Outcome(status="done", loss=measured.loss, loss_se=measured.loss_se)
        store.commit(RunRecord(spec=run, outcome=outcome), draft)
        return run

    return commit


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("results")).prepare()


@pytest.fixture(scope="module")
def run(store, committed) -> RunSpec:
    return committed(store, 0)


@pytest.fixture
def forecast():
    """What was recommended: a run, its loss within 0.1, and its memory."""

    def recommended(run: RunSpec, loss: float, *, memory: Footprint | None = None) -> Recommendation:
        choice = Candidate(
            offered=run,
            n_params=1,
            prediction=Prediction(loss, loss - 0.1, loss + 0.1, level=0.9, scale=0.05, reach={"n": 1.0, "d": 1.0}),
            probability=0.5,
            footprint=memory or footprint(run.model),
        )
        return Recommendation(
            choice=choice,
            binding="target",
            runners_up=(),
            floor=1.0,
            question=Question(target_loss=loss, memory_bytes=2**26),
            fit_id="0123456789",
        )

    return recommended


class FitStub:
    """What the ledger asks of a fit."""

    columns = {"loss": "loss"}
    law = type("law", (), {"name": "chinchilla"})


@pytest.fixture
def fit() -> FitStub:
    return FitStub()
