"""What LiteRT computes for one token, as a portable StableHLO program made from the weights of a student.

The token table is looked up as int8 rows with their scales: the converter's quantizer leaves look-ups as they are, and
would keep a table in float32 for them. All other matrices are the floats that their integers stand for, so that the
quantizer finds the same integers again.

Shape suffixes: M width, H query heads, J key–value heads, G = H/J, K head width, S length of the cache, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from scaling.formats.quantized import QuantizedMatrix, Tensor
from scaling.spec import ModelSpec
from scaling.train.student.model import rope_table

HIDDEN_SCORE = -1e30
"""Of positions that were not read yet; finite, since some kernels have no infinity."""


@dataclass(frozen=True)
class Program:
    """A program and the names of what goes in and comes out.

    Attributes:
        name: That an engine calls it by.
        artifact: StableHLO, versioned and serialized.
        inputs: In order: ``token`` int32[1, 1], ``position`` int32[1], and ``k_i``, ``v_i`` float32[1, J, S, K].
        outputs: ``logits`` float32[1, V], and the same caches with this token in them.
    """

    name: str
    artifact: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def step_program(model: ModelSpec, tensors: Mapping[str, Tensor]) -> Program:
    """The program that reads one token and gives the logits of the next.

    Args:
        model: The sizes.
        tensors: As stored, under their GGUF names.
    """
    names = tuple(f"{part}_{i}" for i in range(model.n_layers) for part in "kv")
    return _program("decode", _step(model, tensors), model, ("token", "position", *names), ("logits", *names))


def session_programs(model: ModelSpec, tensors: Mapping[str, Tensor]) -> tuple[Program, Program]:
    """The same step as the two programs that LiteRT-LM calls, under its names of them and of what goes in and out.

    ``prefill_1`` reads a token and gives the caches; ``decode`` gives the logits as well, float32[1, 1, V].

    Args:
        model: The sizes.
        tensors: As stored, under their GGUF names.

    Source: github.com/google-ai-edge/LiteRT-LM, runtime/executor: names of signatures and of their tensors.
    """
    step = _step(model, tensors)
    names = tuple(f"kv_cache_{part}_{i}" for i in range(model.n_layers) for part in "kv")

    # Logits that nobody asks for are not computed: the compiler leaves out what no output needs.
    def prefill(token, position, *caches):
        return step(token, position, *caches)[1:]

    def decode(token, position, *caches):
        logits, *kept = step(token, position, *caches)
        return logits[None], *kept

    inputs = ("tokens", "input_pos", *names)
    return (
        _program("prefill_1", prefill, model, inputs, names),
        _program("decode", decode, model, inputs, ("logits", *names)),
    )


def _program(
    name: str, function: Callable, model: ModelSpec, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> Program:
    shape = (1, model.n_kv_heads, model.context, model.head_width)
    caches = [jax.ShapeDtypeStruct(shape, jnp.float32)] * (2 * model.n_layers)
    token, position = jax.ShapeDtypeStruct((1, 1), jnp.int32), jax.ShapeDtypeStruct((1,), jnp.int32)
    exported = jax.export.export(jax.jit(function), platforms=["cpu"])(token, position, *caches)
    return Program(name, bytes(exported.mlir_module_serialized), inputs, outputs)


def _step(model: ModelSpec, tensors: Mapping[str, Tensor]):
    """The function of one token that is traced."""
    floats = {
        name: tensor.dequantize() if isinstance(tensor, QuantizedMatrix) else np.asarray(tensor, np.float32)
        for name, tensor in tensors.items()
    }
    cos_SK, sin_SK = (jnp.asarray(part) for part in rope_table(model, model.context))
    table = tensors["token_embd.weight"]

    def step(token, position, *caches):
        at = position[0]
        x_M = _row(table, floats["token_embd.weight"], token[0])
        angles = [jax.lax.dynamic_slice_in_dim(part, at, 1) for part in (cos_SK, sin_SK)]
        kept: list[jax.Array] = []
        # Layer by layer as the student computes it, with matrices as [out, in], as the converter wants them.
        for i in range(model.n_layers):
            part = {name.split(".")[2]: w for name, w in floats.items() if name.startswith(f"blk.{i}.")}
            said_M, cache = _attend(
                model, part, _norm(x_M, part["attn_norm"], model), angles, at, caches[2 * i : 2 * i + 2]
            )
            x_M = x_M + said_M
            into_M = _norm(x_M, part["ffn_norm"], model)
            x_M = x_M + (jax.nn.silu(into_M @ part["ffn_gate"].T) * (into_M @ part["ffn_up"].T)) @ part["ffn_down"].T
            kept += cache
        head = floats.get("output.weight", floats["token_embd.weight"])
        return _norm(x_M, floats["output_norm.weight"], model) @ head.T, *kept

    return step


def _row(table: Tensor, floats: np.ndarray, token: jax.Array) -> jax.Array:
    """The row of a token, [1, M]."""
    if not isinstance(table, QuantizedMatrix):
        return jnp.take(jnp.asarray(floats), token, axis=0)
    values, scales = jnp.asarray(table.values), jnp.asarray(table.scales, jnp.float32)
    return jnp.take(values, token, axis=0).astype(jnp.float32) * jnp.take(scales, token, axis=0)


def _attend(model: ModelSpec, part, into_M, angles, at, cache):
    """What attention adds, [1, M], and the cache with this token in it."""
    h, j, k, s = model.n_heads, model.n_kv_heads, model.head_width, model.context
    q_HK = _rotate((into_M @ part["attn_q"].T).reshape(h, k), *angles)
    new = (
        _rotate((into_M @ part["attn_k"].T).reshape(j, k), *angles),
        (into_M @ part["attn_v"].T).reshape(j, k),
    )
    # A choice by position, and no update in place: that is an operation all of LiteRT's kernels have.
    here = (jnp.arange(s) == at)[None, None, :, None]
    keys, values = (jnp.where(here, one[None, :, None, :], old) for one, old in zip(new, cache, strict=True))
    score_JGS = jnp.einsum("jgk,jsk->jgs", q_HK.reshape(j, h // j, k), keys[0]) / math.sqrt(k)
    score_JGS = jnp.where((jnp.arange(s) <= at)[None, None, :], score_JGS, HIDDEN_SCORE)
    mixed = jnp.einsum("jgs,jsk->jgk", jax.nn.softmax(score_JGS, axis=-1), values[0])
    return mixed.reshape(1, h * k) @ part["attn_output"].T, [keys, values]


def _rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Pairs (2i, 2i + 1) of each head turned by the angles of a position."""
    even, odd = x[:, 0::2], x[:, 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def _norm(x: jax.Array, gain: np.ndarray, model: ModelSpec) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + model.norm_eps) * gain[None, :]
