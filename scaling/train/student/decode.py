"""Many sequences written at once by a trained student: what makes a teacher's text.

One compiled program writes a whole batch of sequences from the first token to the last. Keys and values are kept a
layer apart and changed in place, and the cache grows in steps, so that early tokens do not attend
over empty room: on a processor this runs at the speed of a forward pass over as many tokens.

Shape suffixes as in ``model.py``: B sequences, T time, S time of the cache, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from scaling.spec import ModelSpec
from scaling.train.step import params_of, with_params
from scaling.train.student.kernels import attend
from scaling.train.student.model import Student, _feed_forward, _output, _project, embed, rope_table

GROWTH_STEPS = 8
"""Sizes that the cache goes through, at most; each is compiled once."""
COMPILED_LAYERS = 64
"""Layers that are compiled for all sizes together: a deep model has few sizes, or compiling takes minutes."""


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen. Only temperature 1 without a cut samples the model's own distribution.

    Attributes:
        temperature: Logits are divided by it.
        top_k: Keep the k likeliest tokens.
        top_p: Keep the likeliest tokens that together have at least this probability.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


GREEDY = Decoding(top_k=1)
FREE = np.int32(-1)
"""In what is given of a sequence: a place to be filled in."""


def sample_sequences(
    student: Student,
    key: jax.Array,
    *,
    n_sequences: int,
    length: int,
    bos: int | jax.Array,
    decoding: Decoding | None = None,
    given: np.ndarray | None = None,
) -> jax.Array:
    """Write sequences, each from BOS on and independent of the others.

    Args:
        student: The generator.
        key: Decides every draw; or K keys, each of which decides the draws of as many sequences as one alone would.
        n_sequences: B, written side by side; with K keys K times as many, of which ``bos`` and ``given`` speak too.
        length: T, tokens of each, at most the generator's context if its text is to be its own distribution.
        bos: What the first token is predicted from, one for all or int32[B]; it is not part of the result.
        decoding: By default temperature 1, ancestral sampling.
        given: int32[B, T], tokens that are already there, and FREE where one is to be written; all by default.

    Returns:
        int32[B, T], or int32[K · B, T].
    """
    # One number a token, drawn beforehand: what is written does not hang on how the work is cut.
    uniform_KTB = jax.vmap(lambda key: jax.random.uniform(key, (length, n_sequences)))(jnp.atleast_1d(key))
    uniform_TB = jnp.concatenate(uniform_KTB, axis=-1)
    given_TB = jnp.full(uniform_TB.shape, FREE) if given is None else jnp.asarray(given.T)
    sizes = max(1, min(GROWTH_STEPS, COMPILED_LAYERS // student.model.n_layers))
    return _sample(student.model, params_of(student), given_TB, uniform_TB, bos, decoding or Decoding(), sizes)


def complete(student: Student, given_BT: np.ndarray, *, bos: int) -> np.ndarray:
    """Sequences with the likeliest token at every place that is FREE, given all before it.

    Args:
        student: Who writes.
        given_BT: int32[B, T].
        bos: What the first token is predicted from.

    Returns:
        int32[B, T].
    """
    given_TB = jnp.asarray(given_BT.T)
    one_each = jnp.full(given_TB.shape, 0.5)
    # A cache of one size: what is asked is little, so compiling would take longer than attending over empty room.
    return np.asarray(_sample(student.model, params_of(student), given_TB, one_each, bos, GREEDY, 1))


@partial(jax.jit, static_argnames=("model", "decoding", "sizes"))
def _sample(
    model: ModelSpec,
    params,
    given_TB: jax.Array,
    uniform_TB: jax.Array,
    bos: int | jax.Array,
    decoding: Decoding,
    sizes: int,
) -> jax.Array:
    student = with_params(model, params)
    length, batch = uniform_TB.shape
    chunk = -(-length // sizes)
    # The cache takes keys and values as the parameters make them, of 16 bits too.
    dtype = student.token_embd[...].dtype
    empty = (jnp.zeros((batch, model.n_kv_heads, 0, model.head_width), dtype),) * model.n_layers
    carry, written = (jnp.full(batch, bos, jnp.int32), empty, empty), []
    for start in range(0, length, chunk):
        stop = min(start + chunk, length)
        token, keys, values = carry
        carry = token, _grown(keys, stop), _grown(values, stop)
        step = partial(_step, student, decoding, stop)
        carry, tokens_TB = jax.lax.scan(
            step, carry, (jnp.arange(start, stop), given_TB[start:stop], uniform_TB[start:stop])
        )
        written.append(tokens_TB)
    return jnp.concatenate(written).T


def _step(student: Student, decoding: Decoding, space: int, carry, now):
    """Read one token a sequence, choose the next where none is given."""
    (token_B, keys, values), (position, given_B, uniform_B) = carry, now
    model = student.model
    rotation = [jax.lax.dynamic_slice_in_dim(part, position, 1) for part in map(jnp.asarray, rope_table(model, space))]
    mask_TS = (jnp.arange(space) <= position)[None]
    x_BTM = embed(student.token_embd[...], token_B[:, None])
    keys, values = list(keys), list(values)
    for i, block in enumerate(student.blocks):
        q_BHTK, k_BJTK, v_BJTK = _project(block, model, x_BTM, rotation)
        keys[i] = jax.lax.dynamic_update_slice_in_dim(keys[i], k_BJTK, position, axis=2)
        values[i] = jax.lax.dynamic_update_slice_in_dim(values[i], v_BJTK, position, axis=2)
        x_BTM = x_BTM + _output(block, attend(q_BHTK, keys[i], values[i], mask_TS))
        x_BTM = x_BTM + _feed_forward(block, model, x_BTM)
    # Of few bits, the sums of probabilities would leave out most of a large vocabulary.
    chosen_B = _choose(student._logits(x_BTM)[:, 0].astype(jnp.float32), uniform_B, decoding)
    chosen_B = jnp.where(given_B == FREE, chosen_B, given_B)
    return (chosen_B, tuple(keys), tuple(values)), chosen_B


def _grown(arrays: tuple[jax.Array, ...], space: int) -> tuple[jax.Array, ...]:
    return tuple(jnp.pad(a, ((0, 0), (0, 0), (0, space - a.shape[2]), (0, 0))) for a in arrays)


def _choose(logits_BV: jax.Array, uniform_B: jax.Array, decoding: Decoding) -> jax.Array:
    """Tokens at quantiles of the distribution: one random number each, where Gumbel's trick would need V."""
    p_BV = jax.nn.softmax(_cut(logits_BV / decoding.temperature, decoding))
    cdf_BV = jnp.cumsum(p_BV, axis=-1)
    chosen_B = (cdf_BV <= (uniform_B * cdf_BV[:, -1])[:, None]).sum(-1)
    return jnp.minimum(chosen_B, logits_BV.shape[-1] - 1).astype(jnp.int32)


def _cut(logits_BV: jax.Array, decoding: Decoding) -> jax.Array:
    """Logits with those outside of top_k and top_p at −∞; the likeliest token always stays."""
    if decoding.top_k is None and decoding.top_p is None:
        return logits_BV
    falling_BV = -jnp.sort(-logits_BV, axis=-1)
    keep_BV = jnp.arange(logits_BV.shape[-1])[None] < (decoding.top_k or logits_BV.shape[-1])
    if decoding.top_p is not None:
        p_BV = jax.nn.softmax(jnp.where(keep_BV, falling_BV, -jnp.inf))
        keep_BV &= jnp.cumsum(p_BV, axis=-1) - p_BV < decoding.top_p
    lowest_B1 = jnp.min(jnp.where(keep_BV, falling_BV, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits_BV >= lowest_B1, logits_BV, -jnp.inf)
