"""Activations in 8 bits, where an engine multiplies integers: rounded anew for each token, or to ranges seen before."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from scaling.compress.forward import Tap, forward
from scaling.dimensions import GGUF_BLOCK
from scaling.train.step import params_of, with_params
from scaling.train.student.generator import Forward
from scaling.train.student.model import Student

Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest value seen at each place that a matrix reads."""

MATRIX_INPUTS = ("attn_in", "heads", "ffn_in", "hidden", "output_in")
CACHED = ("q", "k", "v")


def in_blocks(place: str, value: jax.Array) -> jax.Array:
    """What llama.cpp computes with beside Q8_0 or Q4_0 weights.

    Inputs of matrices in blocks of 32, ``s = max|x| / 127`` kept as f16, ``q = round(x·127/max|x|)``; queries, keys and
    values in f16, as its cache holds them.
    """
    kind = place.rpartition(".")[2]
    if kind in CACHED:
        return value.astype(jnp.float16).astype(value.dtype)
    if kind not in MATRIX_INPUTS:
        return value
    blocks = value.reshape(*value.shape[:-1], -1, GGUF_BLOCK)
    largest = jnp.abs(blocks).max(axis=-1, keepdims=True)
    counted = jnp.round(blocks * jnp.where(largest > 0, 127 / largest, 0.0))
    scale = (largest / 127).astype(jnp.float16).astype(value.dtype)
    return (counted * scale).reshape(value.shape)


DYNAMIC: Forward = partial(forward, tap=in_blocks)
"""W8A8 as llama.cpp does it: one object, so that it is compiled once for a model."""


def static(ranges: Ranges) -> Forward:
    """W8A8 with one int8 scale and zero point for each place, fixed beforehand; what lies outside is clipped.

    ``s = (max(x, 0) − min(x, 0))/255``, ``z = round(−128 − min(x, 0)/s)``: Jacob et al. 2018, arXiv 1712.05877.
    """
    return partial(forward, tap=_to_ranges(ranges))


def _to_ranges(ranges: Ranges) -> Tap:
    def tap(place: str, value: jax.Array) -> jax.Array:
        if place not in ranges:
            return value
        low, high = (min(ranges[place][0], 0.0), max(ranges[place][1], 0.0))
        scale = (high - low) / 255 or 1.0
        zero = round(-128 - low / scale)
        return (jnp.clip(jnp.round(value / scale) + zero, -128, 127) - zero) * scale

    return tap


def ranges_on(student: Student, tokens_BT: np.ndarray) -> dict[str, tuple[float, float]]:
    """Calibrate: the range of every input of a matrix while some tokens are read.

    Args:
        student: As trained.
        tokens_BT: int32[B, T], of the training stream: held-out tokens would flatter what is measured on them.
    """
    model = student.model

    @jax.jit
    def seen(params, tokens_BT):
        found = {}

        def note(place: str, value: jax.Array) -> jax.Array:
            if place.rpartition(".")[2] in MATRIX_INPUTS:
                found[place] = (value.min(), value.max())
            return value

        forward(with_params(model, params), tokens_BT, note)
        return found

    found = jax.device_get(seen(params_of(student), tokens_BT))
    return {place: (float(low), float(high)) for place, (low, high) in found.items()}
