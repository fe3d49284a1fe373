"""A student's loss on held-out sequences, its standard error, and in a world the exact terms of it.

The student's log-probabilities are float32; every average over them is float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from scaling.data.eval_sets import EvalBatch, EvalSet, ratio, share_of
from scaling.spec import ModelSpec
from scaling.train.step import Params, params_of, with_params
from scaling.train.student.generator import Forward, as_trained, log_probabilities
from scaling.train.student.model import Student


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A student's loss on one set, nats per scored token.

    Attributes:
        loss: Mean loss.
        loss_se: Its standard error, from the spread over sequences.
        per_sequence: float64[n_sequences], mean loss of each; differences of two students are paired on it.
        scored: int64[n_sequences], tokens that each is the mean of: an answer has few or many.
        kl_student: KL(q‖f) on this set; None for text.
        cross_term: ``Σ (p − q)·ln(q/f)`` on this set; None for text.
    """

    loss: float
    loss_se: float
    per_sequence: np.ndarray
    scored: np.ndarray
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

    @classmethod
    def of(cls, batch: EvalBatch) -> Scored:
        at = batch.weights > 0
        p, q = (None if probs is None else probs[at] for probs in (batch.p, batch.q))
        return cls(batch.inputs, at, batch.targets[at], p, q)


LOGITS_BYTES = 1 << 28
"""Of the logits that exist at once while a text is scored, at most; a pretrained vocabulary would need gigabytes."""


def exact_match(student: Student, batches: Iterable[Scored]) -> tuple[float, float]:
    """Share of sequences whose scored tokens greedy decoding writes exactly, and its standard error.

    Greedy decoding writes an answer if, and only if, each of its tokens is the likeliest one behind all before it: so
    one reading of question and answer tells, and nothing has to be decoded.
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
    ready = (batch if isinstance(batch, Scored) else Scored.of(batch) for batch in batches)
    parts = [
        _score_text(model, params, batch, forward)
        if batch.p is None
        else _score_world(model, params, batch, batch.p, under, forward)
        for batch in ready
    ]
    scored = np.concatenate([part.scored for part in parts])
    totals = np.concatenate([part.loss for part in parts])
    # Tokens of one sequence are not independent: the standard error is over sequences.
    loss, loss_se = ratio(totals, scored)
    kl, cross = (_mean([getattr(part, name) for part in parts], scored) for name in ("kl_student", "cross_term"))
    return Evaluation(
        loss=loss,
        loss_se=loss_se,
        per_sequence=totals / scored,
        scored=scored,
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
    score, parts = _token_scorer(model, forward), parts_in_memory(n_sequences, time, model.vocab_size)
    return np.concatenate([np.asarray(score(params, inputs_BT[part], targets_BT[part])) for part in parts])


def parts_in_memory(n_sequences: int, time: int, numbers: int) -> list[slice]:
    """As few equal parts of some sequences as ``LOGITS_BYTES`` allow, of so many float32 numbers a token."""
    most = max(1, LOGITS_BYTES // (4 * time * numbers))
    rows = next(n for n in range(min(most, n_sequences), 0, -1) if n_sequences % n == 0)
    return [slice(start, start + rows) for start in range(0, n_sequences, rows)]


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
