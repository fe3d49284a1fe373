"""Soft targets of a language model: its distribution of the next token at every position of its text.

One forward pass over a block of text; kept is a part of each distribution (``scaling/data/targets.py`` says which parts
there are, and which of them are biased). The distribution is the model's own at the asked temperature, however the text
was decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.data.batches import with_bos
from scaling.data.targets import record_type
from scaling.errors import DataError
from scaling.registry import Registry
from scaling.spec import ModelSpec, SampledTargets, SoftTargets, TopKTargets
from scaling.train.evaluate import LOGITS_BYTES
from scaling.train.step import Params, params_of, with_params
from scaling.train.student.model import Student

Keep = Callable[[jax.Array, Any, jax.Array], tuple[jax.Array, jax.Array]]
"""What a kind of targets keeps of float32[B, T, V] logits, given targets and a key: ids and weights, [B, T, K] each."""

KEPT: Registry[Keep] = Registry("kind of soft targets of a model", error=DataError)

DRAWN_AT_ONCE = 4
"""Arrays as large as the logits that exist together while targets are drawn."""


def model_records(
    student: Student, sequences: np.ndarray, targets: SoftTargets, key: jax.Array, *, bos: int
) -> np.ndarray:
    """Records of a model's distribution at every position of some sequences.

    Args:
        student: The model.
        sequences: int32[n, T], each predicted from ``bos`` on.
        targets: What to keep.
        key: Decides the draws.
        bos: What the first token is predicted from.

    Returns:
        record[n, T] of ``record_type``.
    """
    model, params = student.model, params_of(student)
    inputs = with_bos(sequences, bos)
    out = np.empty(sequences.shape, record_type(targets, model.vocab_size))
    rows = max(1, LOGITS_BYTES // (DRAWN_AT_ONCE * 4 * sequences.shape[1] * model.vocab_size))
    for start in range(0, len(sequences), rows):
        part = inputs[start : start + rows]
        padded = np.pad(part, [(0, rows - len(part)), (0, 0)])  # one shape, one compilation
        ids, weights = _records(model, params, padded, jax.random.fold_in(key, start), targets)
        out["ids"][start : start + rows] = np.asarray(ids)[: len(part)]
        out["weights"][start : start + rows] = np.asarray(weights)[: len(part)]
    return out


@partial(jax.jit, static_argnames=("model", "targets"))
def _records(
    model: ModelSpec, params: Params, inputs_BT: jax.Array, key: jax.Array, targets: SoftTargets
) -> tuple[jax.Array, jax.Array]:
    return KEPT[targets.kind](with_params(model, params)(inputs_BT) / targets.temperature, targets, key)


@KEPT.register("topk")
def _keep_likeliest(logits_BTV: jax.Array, targets: TopKTargets, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    k = min(targets.k, logits_BTV.shape[-1])
    logits_BTK, ids_BTK = jax.lax.top_k(logits_BTV, k)
    room = [(0, 0), (0, 0), (0, targets.k - k)]
    return jnp.pad(ids_BTK, room), jnp.pad(jax.nn.softmax(logits_BTK), room)


@KEPT.register("sampled")
def _keep_draws(logits_BTV: jax.Array, targets: SampledTargets, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    uniform_BTN = jax.random.uniform(key, (*logits_BTV.shape[:-1], targets.n))
    return sampled(logits_BTV, uniform_BTN, targets.exponent)


def sampled(logits_BTV: jax.Array, uniform_BTN: jax.Array, exponent: float) -> tuple[jax.Array, jax.Array]:
    """Draws from ``softmax(logits)^exponent``, normalised, and their importance weights ``probs/(n·proposal)``.

    Float32 sums of probabilities end at about 1e-7: tokens less likely than that are drawn too rarely or too often.
    """
    proposal_BTV = jax.nn.softmax(exponent * logits_BTV)
    cdf_BTV = jnp.cumsum(proposal_BTV, axis=-1)
    aimed_BTN = uniform_BTN * cdf_BTV[..., -1:]
    search = partial(jnp.searchsorted, side="right")
    ids_BTN = jax.vmap(jax.vmap(search))(cdf_BTV, aimed_BTN)
    ids_BTN = jnp.minimum(ids_BTN, logits_BTV.shape[-1] - 1)
    log_ratio_BTV = jax.nn.log_softmax(logits_BTV) - jax.nn.log_softmax(exponent * logits_BTV)
    return ids_BTN, jnp.exp(jnp.take_along_axis(log_ratio_BTV, ids_BTN, axis=-1)) / uniform_BTN.shape[-1]
