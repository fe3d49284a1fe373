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

from scaling.data.evaluation import EvalBatch, EvalSet, EvalSets, evaluation_sets, share_of
from scaling.records import RunStore
from scaling.spec import ModelSpec, RunSpec, StudentTeacher
from scaling.train.generator import Forward, as_trained, log_probabilities, open_student
from scaling.train.model import Student
from scaling.train.step import Params, params_of, with_params


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


@dataclass(frozen=True)
class Scored:
    """An EvalBatch with what scores it at the n positions that count, and nothing elsewhere.

    Attributes:
        inputs: int32[b, T].
        at: bool[b, T], n of them true.
        targets: int32[n].
        p: float32[n, V]; None for text.
        q: float32[n, V]; None for text and where there is no teacher.
    """

    inputs: np.ndarray
    at: np.ndarray
    targets: np.ndarray
    p: np.ndarray | None
    q: np.ndarray | None


@dataclass(frozen=True)
class HeldOut:
    """What the runs of one source are measured on, made once for all of them.

    Attributes:
        sets: Where it comes from, and what is known of it beforehand.
        real: The real set.
        teacher: The teacher's set; None where the student reads the real text.
        ood: Questions of the kind that a task keeps from training; None without a task.
    """

    sets: EvalSets
    real: list[Scored]
    teacher: list[Scored] | None
    ood: list[Scored] | None = None


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
    generator_delta_coverage: float | None
    generator_delta_noise: float | None
    kl_student: float | None
    cross_term: float | None
    exact_match: float | None = None
    exact_match_se: float | None = None
    ood_loss: float | None = None
    ood_loss_se: float | None = None
    ood_exact_match: float | None = None
    ood_exact_match_se: float | None = None


LOGITS_BYTES = 1 << 28
"""Logits that exist at once while a text is scored, at most; a pretrained vocabulary would need gigabytes."""

_HELD: dict[str, HeldOut] = {}
_MOST_HELD = 3


def held_out(spec: RunSpec, store: RunStore) -> HeldOut:
    """The evaluation sets of a run; trunks of the same source and teacher share them within a process."""
    parts = (spec.data, spec.evaluation, spec.model.context, spec.model.vocab_size, str(store.root))
    key = repr(parts)
    if key not in _HELD:
        while len(_HELD) >= _MOST_HELD:
            _HELD.pop(next(iter(_HELD)))
        is_student = isinstance(spec.data.teacher, StudentTeacher)
        probs = open_student(spec, store).next_token_probs if is_student else None
        sets = evaluation_sets(spec, store, teacher_probs=probs)
        teacher = None if sets.teacher is None else [_scored(batch) for batch in sets.teacher]
        ood = None if sets.ood is None else [_scored(batch) for batch in sets.ood]
        _HELD[key] = HeldOut(sets, [_scored(batch) for batch in sets.real], teacher, ood)
    return _HELD[key]


def measure(student: Student, held: HeldOut) -> Measured:
    """Everything that a record says about a student's loss."""
    sets = held.sets
    real = evaluate(student, held.real)
    teacher = None if held.teacher is None else evaluate(student, held.teacher, under="teacher")
    return Measured(
        loss=real.loss,
        loss_se=real.loss_se,
        bits_per_byte=None if sets.bytes_per_token is None else real.loss / math.log(2.0) / sets.bytes_per_token,
        loss_teacher=None if teacher is None else teacher.loss,
        loss_teacher_se=None if teacher is None else teacher.loss_se,
        teacher_loss=sets.teacher_loss,
        entropy=sets.entropy,
        delta_coverage=sets.delta_coverage,
        delta_noise=sets.delta_noise,
        generator_delta_coverage=sets.generator_delta_coverage,
        generator_delta_noise=sets.generator_delta_noise,
        kl_student=real.kl_student,
        cross_term=real.cross_term,
        **({} if held.ood is None else _answered(student, held.real, held.ood)),
    )


def _answered(student: Student, like: list[Scored], ood: list[Scored]) -> dict[str, float]:
    """What a task asks for beside the loss: right answers, to the kind learned from and to the kind kept from it."""
    other = evaluate(student, ood)
    (right, right_se), (ood_right, ood_right_se) = (exact_match(student, part) for part in (like, ood))
    return {
        "exact_match": right,
        "exact_match_se": right_se,
        "ood_loss": other.loss,
        "ood_loss_se": other.loss_se,
        "ood_exact_match": ood_right,
        "ood_exact_match_se": ood_right_se,
    }


def exact_match(student: Student, batches: Iterable[Scored]) -> tuple[float, float]:
    """Share of sequences whose scored tokens greedy decoding writes exactly, and its standard error.

    Greedy decoding writes an answer if, and only if, each of its tokens is the likeliest one behind all before it: so
    one reading of question and answer tells, and nothing has to be decoded. ``se² = (r + ½)(n − r + ½) / (n + 1)³`` of
    r right ones of n, which is not zero where all or none are right.
    """
    right = [
        np.where(batch.at, best == _targets(batch), True).all(1)
        for batch in batches
        for best in [np.asarray(_likeliest(student.model)(params_of(student), batch.inputs))]
    ]
    return share_of(np.concatenate(right))


def evaluate(
    student: Student,
    batches: EvalSet | Iterable[EvalBatch | Scored],
    *,
    under: Literal["real", "teacher"] = "real",
    forward: Forward = as_trained,
) -> Evaluation:
    """Measure a student on a held-out set.

    Text is scored by its targets, ``−ln f(x)``; a world by the distribution of the next token, ``−Σ_x p(x)·ln f(x)``
    (with q for p where ``under`` is ``"teacher"``), which carries no label noise.

    Args:
        student: Any student, also one with dequantized weights.
        batches: An EvalSet, or its batches.
        under: Whose distribution of the next token scores a world's positions.
        forward: What computes the logits; by default the student as it was trained.
    """
    model, params = student.model, params_of(student)
    ready = (batch if isinstance(batch, Scored) else _scored(batch) for batch in batches)
    parts = [
        _score_text(model, params, batch, forward)
        if batch.p is None
        else _score_world(model, params, batch, batch.p, under, forward)
        for batch in ready
    ]
    scored = np.concatenate([part.scored for part in parts])
    totals = np.concatenate([part.loss for part in parts])
    # Tokens of one sequence are not independent: the standard error is over sequences.
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


def _scored(batch: EvalBatch) -> Scored:
    at = batch.weights > 0
    p, q = (None if probs is None else probs[at] for probs in (batch.p, batch.q))
    return Scored(batch.inputs, at, batch.targets[at], p, q)


def _score_text(model: ModelSpec, params: Params, batch: Scored, forward: Forward) -> _Sums:
    log_f_BT = token_log_probs(model, params, batch.inputs, _targets(batch), forward)
    return _Sums(batch.at.sum(1), -np.where(batch.at, log_f_BT, 0.0).sum(1, dtype=np.float64))


def _targets(batch: Scored) -> np.ndarray:
    """int32[b, T], 0 where nothing is scored."""
    targets_BT = np.zeros(batch.inputs.shape, np.int32)
    targets_BT[batch.at] = batch.targets
    return targets_BT


def token_log_probs(
    model: ModelSpec, params: Params, inputs_BT: np.ndarray, targets_BT: np.ndarray, forward: Forward = as_trained
) -> np.ndarray:
    """``ln f`` of every target, float32[B, T], in as few calls as ``LOGITS_BYTES`` allow."""
    n_sequences, time = inputs_BT.shape
    most = max(1, LOGITS_BYTES // (4 * time * model.vocab_size))
    rows = next(n for n in range(min(most, n_sequences), 0, -1) if n_sequences % n == 0)
    parts = [slice(start, start + rows) for start in range(0, n_sequences, rows)]
    score = _token_scorer(model, forward)
    return np.concatenate([np.asarray(score(params, inputs_BT[part], targets_BT[part])) for part in parts])


def _score_world(model: ModelSpec, params: Params, batch: Scored, p: np.ndarray, under: str, forward: Forward) -> _Sums:
    scored = batch.at.sum(1)
    rows = np.repeat(np.arange(len(scored)), scored)

    def by_sequence(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows, weights=values, minlength=len(scored))

    log_f = np.asarray(log_probabilities(model, forward)(params, batch.inputs))[batch.at].astype(np.float64)
    p = p.astype(np.float64)
    q = p if batch.q is None else batch.q.astype(np.float64)
    log_q_f = np.log(np.where(q > 0, q, 1.0)) - np.where(q > 0, log_f, 0.0)
    return _Sums(
        scored,
        by_sequence(-((p if under == "real" else q) * log_f).sum(1)),
        by_sequence((q * log_q_f).sum(1)),
        by_sequence(((p - q) * log_q_f).sum(1)),
    )


def _mean(parts: list[np.ndarray | None], scored: np.ndarray) -> float | None:
    known = [part for part in parts if part is not None]
    return float(np.concatenate(known).sum() / scored.sum()) if known else None


@lru_cache(maxsize=64)
def _token_scorer(model: ModelSpec, forward: Forward):
    def log_probabilities(params, inputs_BT, targets_BT):
        log_f_BTV = jax.nn.log_softmax(forward(with_params(model, params), inputs_BT).astype(jnp.float32))
        return jnp.take_along_axis(log_f_BTV, targets_BT[..., None], axis=-1)[..., 0]

    return jax.jit(log_probabilities)


@lru_cache(maxsize=64)
def _likeliest(model: ModelSpec):
    return jax.jit(lambda params, inputs_BT: jnp.argmax(with_params(model, params)(inputs_BT), axis=-1))
