"""What lies below a model's logits, for recipes that compare two models there.

Shape suffixes as in ``model.py``; S is the time that is attended to.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scaling.train.student.kernels import causal_attention
from scaling.train.student.model import Student, _feed_forward, _output, _project, embed, rope_table


class Features(NamedTuple):
    """One reading of some tokens, layer by layer. What is not used is not computed, once it is compiled.

    Attributes:
        embedding_BTM: Of the tokens, before the first layer.
        hidden_BTM: The residual stream after each layer.
        scores_BHTS: ``q·k/√K`` of each layer, before masking and softmax.
        values_BJTK: Values of each layer.
        logits_BTV: float32.
    """

    embedding_BTM: jax.Array
    hidden_BTM: tuple[jax.Array, ...]
    scores_BHTS: tuple[jax.Array, ...]
    values_BJTK: tuple[jax.Array, ...]
    logits_BTV: jax.Array


def features(student: Student, tokens_BT: jax.Array) -> Features:
    """Read tokens as ``student(tokens_BT)`` does, and keep what is read on the way."""
    model = student.model
    rotation = rope_table(model, tokens_BT.shape[1])
    x_BTM = embedding_BTM = embed(student.token_embd[...], tokens_BT)
    hidden, scores, values = [], [], []
    for block in student.blocks:
        q_BHTK, k_BJTK, v_BJTK = _project(block, model, x_BTM, rotation)
        x_BTM = x_BTM + _output(block, causal_attention(q_BHTK, k_BJTK, v_BJTK))
        x_BTM = x_BTM + _feed_forward(block, model, x_BTM)
        hidden.append(x_BTM)
        scores.append(_scores(q_BHTK, k_BJTK))
        values.append(v_BJTK)
    logits_BTV = student._logits(x_BTM).astype(jnp.float32)
    return Features(embedding_BTM, tuple(hidden), tuple(scores), tuple(values), logits_BTV)


def _scores(q_BHTK: jax.Array, k_BJSK: jax.Array) -> jax.Array:
    b, h, t, k = q_BHTK.shape
    q_BJGTK = q_BHTK.reshape(b, k_BJSK.shape[1], -1, t, k)
    return jnp.einsum("bjgtk,bjsk->bjgts", q_BJGTK, k_BJSK).reshape(b, h, t, -1) / math.sqrt(k)


def causal_mean(values_XTS: jax.Array) -> jax.Array:
    """Mean over all places and the pairs of positions that a causal model may look at (s ≤ t)."""
    time = values_XTS.shape[-1]
    seen_TS = jnp.tril(jnp.ones((time, time), bool))
    n = math.prod(values_XTS.shape[:-2]) * time * (time + 1) / 2
    return jnp.sum(jnp.where(seen_TS, values_XTS, 0.0)) / n


def relation_loss(teacher_XTS: jax.Array, student_XTS: jax.Array) -> jax.Array:
    """``KL(softmax(teacher)‖softmax(student))`` over the positions seen (s ≤ t), a mean over rows: scalar."""
    time = teacher_XTS.shape[-1]
    seen_TS = jnp.tril(jnp.ones((time, time), bool))
    log_p, log_q = (jax.nn.log_softmax(jnp.where(seen_TS, x, -jnp.inf)) for x in (teacher_XTS, student_XTS))
    # Outside of what is seen both are −∞, and nothing is lost.
    apart = jnp.where(seen_TS, jnp.exp(log_p) * (jnp.where(seen_TS, log_p - log_q, 0.0)), 0.0)
    return jnp.mean(jnp.sum(apart, axis=-1))


def relative_error(found: jax.Array, wanted: jax.Array) -> jax.Array:
    """``mean((found − wanted)²) / mean(wanted²)``: of two networks with streams of different size, alike for all."""
    return jnp.mean((found - wanted) ** 2) / jnp.mean(wanted**2)
