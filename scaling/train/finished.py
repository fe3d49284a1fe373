"""Finished runs that others need: a teacher's, and the one that a student starts from."""

from __future__ import annotations

import numpy as np

from scaling.errors import DataError
from scaling.records import RunRecord, RunStore
from scaling.spec import RunSpec
from scaling.train.checkpoint import load_student
from scaling.train.step import TrainState, params_of
from scaling.train.student.model import Student, to_tensors


def finished_run(run: RunSpec, store: RunStore, *, role: str) -> RunRecord:
    """The record of a run that has to be there.

    Args:
        run: The run.
        store: Where it lies.
        role: What it is needed as, for the message.

    Raises:
        DataError: if it is not there, or did not train to its end.
    """
    if not store.has(run.run_id):
        raise DataError(f"{role} {run.run_id} is not trained yet; train it first (`scaling sweep` does so)")
    record = store.load(run.run_id)
    if record.outcome.status != "done":
        raise DataError(
            f"{role} {run.run_id} ended as {record.outcome.status}; change its run (a lower optim.lr, for example) "
            "so that it trains to its end"
        )
    return record


def finished_student(run: RunSpec, store: RunStore, *, role: str = "run") -> Student:
    """The student that a run has trained.

    Raises:
        TrainError: if it cannot be read.
        DataError: if its weights are not finite: what it would do says nothing.
    """
    student = load_student(store.student_dir(run.run_id), run.model)
    broken = [name for name, tensor in to_tensors(student).items() if not np.isfinite(tensor).all()]
    if broken:
        raise DataError(
            f"{role} {run.run_id}: {broken[0]} holds weights that are not finite; move its folder away and it is "
            "trained again, or give it a lower optim.lr"
        )
    return student


def started(state: TrainState, spec: RunSpec, store: RunStore) -> TrainState:
    """The first state of a run: its random weights, or in their place those of the run that it starts from.

    Raises:
        DataError: if that run is not there, or did not train to its end.
    """
    run = spec.start_from
    if run is None:
        return state
    student = finished_student(finished_run(run, store, role="start").spec, store, role="start")
    return state._replace(params=state.params | params_of(student))
