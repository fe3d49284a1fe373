"""Ranges of activations of a trained run, on the tokens that it was trained on."""

from __future__ import annotations

from scaling.compress.activations import ranges_on
from scaling.data.batches import open_stream
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.checkpoint import load_student

SEQUENCES = 64
"""That are read."""


def calibrated(run: RunSpec, store: RunStore) -> dict[str, tuple[float, float]]:
    """The range of every input of a matrix on the beginning of the run's training stream."""
    student = load_student(store.student_dir(run.run_id), run.model)
    steps = -(-SEQUENCES // run.optim.batch_size)
    tokens = open_stream(run, store).batches(0, steps).inputs
    return ranges_on(student, tokens.reshape(-1, tokens.shape[-1])[:SEQUENCES])
