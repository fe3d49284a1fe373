"""Losses and standard errors against sums written out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scaling.compress.degradation import degradation
from scaling.data.eval_sets import EvalBatch
from scaling.spec import ModelSpec
from scaling.train.evaluate import evaluate
from scaling.train.student.model import Student, to_tensors
from tests.students import logits_of

MODEL = ModelSpec(vocab_size=33, width=32, n_layers=1, context=6)


def make_batches(n: int = 3, *, law: bool) -> list[EvalBatch]:
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(n):
        tokens = rng.integers(0, 33, (4, 7), dtype=np.int32)
        p, q = rng.dirichlet(np.ones(33), (2, 4, 6)).astype(np.float32) if law else (None, None)
        weights = np.zeros((4, 6), np.float32)
        weights[:, 2:] = 1
        batches.append(EvalBatch(tokens[:, :-1], tokens[:, 1:], weights, p, q))
    return batches


def log_f(student: Student, batch: EvalBatch) -> np.ndarray:
    logits = np.asarray(logits_of(student, batch.inputs), np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_text_is_scored_by_its_targets_where_weights_say_so():
    student, batches = Student(MODEL), make_batches(law=False)
    rows = [
        [-log_f(student, batch)[b, t, batch.targets[b, t]] for t in range(2, 6)] for batch in batches for b in range(4)
    ]
    found = evaluate(student, batches)
    assert found.loss == pytest.approx(np.mean(rows), abs=1e-6)
    np.testing.assert_allclose(found.per_sequence, np.mean(rows, axis=1), atol=1e-6)
    assert found.loss_se == pytest.approx(np.std(np.mean(rows, axis=1), ddof=1) / np.sqrt(12), rel=1e-5)
    assert found.kl_student is None


def of_all_lengths() -> list[EvalBatch]:
    """As the answers of a task: of one token to six."""
    batches = make_batches(law=False)
    lengths = np.random.default_rng(1).integers(1, 7, size=(len(batches), 4, 1))
    return [
        replace(one, weights=(np.arange(6) < n).astype(np.float32)) for one, n in zip(batches, lengths, strict=True)
    ]


def test_a_loss_is_the_mean_of_all_tokens_whoever_measures_it():
    student = Student(MODEL)
    for batches in (of_all_lengths(), make_batches(law=False)):
        found, tensors = evaluate(student, batches), to_tensors(student)
        costs = degradation(MODEL, tensors, {name: 0.9 * tensor for name, tensor in tensors.items()}, batches)
        assert costs.before == pytest.approx(found.loss, rel=1e-12)
        assert costs.before + costs.increase == pytest.approx(costs.after, rel=1e-12)
        assert costs.low < costs.increase < costs.high
        n = costs.n_sequences
        left_out = [np.average(np.delete(found.per_sequence, i), weights=np.delete(found.scored, i)) for i in range(n)]
        by_jackknife = np.sqrt((n - 1) ** 2 / n * np.var(left_out, ddof=1))
        assert found.loss_se == pytest.approx(by_jackknife, rel=0.15)
    # Of equal lengths, as a text's sequences are, nothing is weighed.
    assert found.loss_se == found.per_sequence.std(ddof=1) / math.sqrt(n)


@pytest.mark.parametrize("under", ["real", "teacher"])
def test_a_world_is_scored_by_the_distribution_of_the_next_token(under):
    student, batches = Student(MODEL), make_batches(law=True)
    scored = [
        -(getattr(batch, "p" if under == "real" else "q") * log_f(student, batch)).sum(-1)[:, 2:] for batch in batches
    ]
    assert evaluate(student, batches, under=under).loss == pytest.approx(np.mean(scored), abs=1e-6)


def test_the_terms_close_the_identity_of_the_cross_entropy():
    student, batches = Student(MODEL), make_batches(law=True)
    found = evaluate(student, batches)
    p, q = (np.concatenate([getattr(batch, name)[:, 2:] for batch in batches]).astype(np.float64) for name in "pq")
    teacher_loss = -(p * np.log(q)).sum(-1).mean()
    assert found.loss == pytest.approx(teacher_loss + found.kl_student + found.cross_term, abs=1e-6)


def test_differences_of_two_students_are_paired_by_sequence():
    """The same students in another order of batches give the same differences, sequence by sequence."""
    batches = make_batches(law=False)
    first, second = Student(MODEL, 0), Student(MODEL, 1)
    difference = evaluate(first, batches).per_sequence - evaluate(second, batches).per_sequence
    turned = evaluate(first, batches[::-1]).per_sequence - evaluate(second, batches[::-1]).per_sequence
    np.testing.assert_allclose(difference.reshape(3, 4), turned.reshape(3, 4)[::-1], atol=1e-6)
