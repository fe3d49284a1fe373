"""What a student is worth on held-out data: losses with standard errors, and in a world the exact terms of its loss.

The student's log-probabilities are float32; every average over them is float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from scaling.data.evaluation import EvalBatch, EvalSet, EvalSets
from scaling.records import LN2
from scaling.spec import ModelSpec
from scaling.train.model import Student
from scaling.train.step import params_of, with_params


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A student's loss on one set, nats per scored token.

    Attributes:
        loss: Mean loss.
        loss_se: Its standard error, from the spread over sequences.
        per_sequence: float64[n_sequences], mean loss of each; differences of two students are paired on it.
        kl_student: KL(q‖f) on this set; None for text.
        cross_term: ``Σ (p − q)·ln(q/f)`` on this set; None for text.
    """

    loss: float
    loss_se: float
    per_sequence: np.ndarray
    kl_student: float | None = None
    cross_term: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The part of an Outcome that evaluation fills; fields as there."""

    loss: float
    loss_se: float
    bits_per_byte: float | None
    loss_teacher: float | None
    loss_teacher_se: float | None
    teacher_loss: float | None
    entropy: float | None
    delta_coverage: float | None
    delta_noise: float | None
    kl_student: float | None
    cross_term: float | None


def measure(student: Student, sets: EvalSets) -> Measured:
    """Everything that a record says about a student's loss."""
    real = evaluate(student, sets.real)
    teacher = None if sets.teacher is None else evaluate(student, sets.teacher, law="teacher")
    return Measured(
        loss=real.loss,
        loss_se=real.loss_se,
        bits_per_byte=None if sets.bytes_per_token is None else real.loss / LN2 / sets.bytes_per_token,
        loss_teacher=None if teacher is None else teacher.loss,
        loss_teacher_se=None if teacher is None else teacher.loss_se,
        teacher_loss=sets.teacher_loss,
        entropy=sets.entropy,
        delta_coverage=sets.delta_coverage,
        delta_noise=sets.delta_noise,
        kl_student=real.kl_student,
        cross_term=real.cross_term,
    )


def evaluate(
    student: Student, batches: EvalSet | Iterable[EvalBatch], *, law: Literal["real", "teacher"] = "real"
) -> Evaluation:
    """Measure a student on a held-out set.

    Text is scored by its targets, ``−ln f(x)``; a world by the law of the next token, ``−Σ_x p(x)·ln f(x)`` (with q
    for p where ``law`` is ``"teacher"``), which carries no label noise.

    Args:
        student: Any student, also one with dequantized weights.
        batches: An EvalSet, or its batches.
        law: Whose next-token law scores a world's positions.
    """
    score, params = _scorer(student.model), params_of(student)
    parts = [_score_batch(score(params, batch.inputs), batch, law) for batch in batches]
    scored = np.concatenate([part.scored for part in parts])
    totals = np.concatenate([part.loss for part in parts])
    per_sequence = totals / scored
    kl, cross = (_mean([getattr(part, name) for part in parts], scored) for name in ("kl_student", "cross_term"))
    return Evaluation(
        loss=float(totals.sum() / scored.sum()),
        loss_se=float(per_sequence.std(ddof=1) / math.sqrt(len(per_sequence))) if len(per_sequence) > 1 else math.nan,
        per_sequence=per_sequence,
        kl_student=kl,
        cross_term=cross,
    )


@dataclass(frozen=True)
class _Sums:
    """Sums over the scored tokens of each sequence, float64[b]."""

    scored: np.ndarray
    loss: np.ndarray
    kl_student: np.ndarray | None = None
    cross_term: np.ndarray | None = None


def _score_batch(log_f_BTV: jax.Array, batch: EvalBatch, law: str) -> _Sums:
    at = batch.weights > 0
    scored = at.sum(1)
    log_f = np.asarray(log_f_BTV)[at]
    rows = np.repeat(np.arange(len(scored)), scored)

    def by_sequence(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows, weights=values, minlength=len(scored))

    if batch.p is None:
        loss = -np.take_along_axis(log_f, batch.targets[at][:, None], axis=1)[:, 0]
        return _Sums(scored, by_sequence(loss))
    log_f, p = log_f.astype(np.float64), batch.p[at].astype(np.float64)
    q = p if batch.q is None else batch.q[at].astype(np.float64)
    log_q_f = np.log(np.where(q > 0, q, 1.0)) - np.where(q > 0, log_f, 0.0)
    return _Sums(
        scored,
        by_sequence(-((p if law == "real" else q) * log_f).sum(1)),
        by_sequence((q * log_q_f).sum(1)),
        by_sequence(((p - q) * log_q_f).sum(1)),
    )


def _mean(parts: list[np.ndarray | None], scored: np.ndarray) -> float | None:
    return None if parts[0] is None else float(np.concatenate(parts).sum() / scored.sum())


@lru_cache(maxsize=64)
def _scorer(model: ModelSpec):
    def log_probabilities(params, inputs_BT):
        return jax.nn.log_softmax(with_params(model, params)(inputs_BT).astype(jnp.float32))

    return jax.jit(log_probabilities)
