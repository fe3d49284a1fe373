"""The student: a llama-style decoder that a phone engine reads as it is.

RMSNorm before each branch, interleaved RoPE (pairs 2i, 2i+1, as GGUF's ``llama`` wants them), SwiGLU, grouped queries,
tied or separate output head, no biases. There are no multipliers in the forward pass: what µP asks for lives in the
initial values below and in the rates of ``optimizer.py``, so a trained student needs no folding when it is exported.

Shape suffixes: B batch, T time, S time of the cache, M width, F hidden, H query heads, J key–value heads, G = H/J
queries a key–value head, K head width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scaling.accounting import misfit
from scaling.errors import TrainError
from scaling.spec import ModelSpec
from scaling.train.student.kernels import attend, linear, rms_normalise, self_attention, side_by_side, split_heads

BASE_WIDTH = 32
"""Width at which µP's initial values and rates equal the standard ones."""

BASE_LAYERS = 2
"""Depth at which CompleteP's initial values and rates equal the standard ones."""

Tensors = dict[str, np.ndarray]


class Cache(NamedTuple):
    """Keys and values of the tokens read so far.

    Attributes:
        keys: float32[L, B, J, S, K], rotated.
        values: float32[L, B, J, S, K].
        length: int32, tokens read; at most S.
    """

    keys: jax.Array
    values: jax.Array
    length: jax.Array


class Block(nnx.Module):
    """Attention and SwiGLU, each added to the residual stream; query–key–value and gate–up are one matrix each."""

    def __init__(self, model: ModelSpec, key: jax.Array):
        m, f, k = model.width, model.hidden, model.head_width
        qkv, out = (model.n_heads + 2 * model.n_kv_heads) * k, model.n_heads * k
        keys = jax.random.split(key, 4)
        # The matrices that write to the residual stream carry the branches' factor of CompleteP, base_layers/n_layers;
        # at the base depth they share the growth of the stream over its 2·base_layers branches.
        residual = BASE_LAYERS / model.n_layers / math.sqrt(2 * BASE_LAYERS)
        self.attn_norm = nnx.Param(jnp.ones(m))
        self.attn_qkv = nnx.Param(_normal(keys[0], (m, qkv), m**-0.5))
        self.attn_output = nnx.Param(_normal(keys[1], (out, m), residual * out**-0.5))
        self.ffn_norm = nnx.Param(jnp.ones(m))
        self.ffn_gate_up = nnx.Param(_normal(keys[2], (m, 2 * f), m**-0.5))
        self.ffn_down = nnx.Param(_normal(keys[3], (f, m), residual * f**-0.5))


class Student(nnx.Module):
    """A decoder with the sizes of a ModelSpec.

    Args:
        model: The sizes.
        seed: Of the initial weights.
    """

    def __init__(self, model: ModelSpec, seed: int = 0):
        keys = jax.random.split(jax.random.key(seed), model.n_layers + 2)
        table = (model.vocab_size, model.width)
        self.model = model
        self.token_embd = nnx.Param(_normal(keys[0], table, BASE_WIDTH**-0.5))
        self.blocks = nnx.List([Block(model, key) for key in keys[2:]])
        # µP's 1/width on the logits, carried by the last gain (it has the same effect and no folding).
        self.output_norm = nnx.Param(jnp.full(model.width, BASE_WIDTH / model.width, jnp.float32))
        self.output = None if model.tied_embeddings else nnx.Param(_normal(keys[1], table, BASE_WIDTH**-0.5))

    def __call__(self, tokens_BT: jax.Array) -> jax.Array:
        """Logits float32[B, T, V] of the token after each of ``tokens_BT: int32[B, T]``."""
        model, time = self.model, tokens_BT.shape[1]
        rotation = rope_table(model, time)
        x_BTM = embed(self.token_embd[...], tokens_BT)
        for block in self.blocks:
            mixed_BTY = self_attention(_qkv(block, model, x_BTM), *rotation, model.n_heads, model.n_kv_heads)
            x_BTM = x_BTM + linear(mixed_BTY, block.attn_output[...])
            x_BTM = x_BTM + _feed_forward(block, model, x_BTM)
        return self._logits(x_BTM)

    def extend(self, tokens_BT: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        """Read more tokens after those of a cache: a whole prompt (prefill), or one token at a time (decoding).

        Args:
            tokens_BT: int32[B, T]; ``cache.length + T`` may not exceed the cache.
            cache: From :func:`empty_cache` or an earlier call.

        Returns:
            Logits float32[B, T, V] and the cache with these tokens in it.
        """
        model, time, space = self.model, tokens_BT.shape[1], cache.keys.shape[3]
        start = cache.length
        rotation = [jax.lax.dynamic_slice_in_dim(part, start, time) for part in rope_table(model, space)]
        mask_TS = jnp.arange(space)[None, :] <= start + jnp.arange(time)[:, None]
        x_BTM = embed(self.token_embd[...], tokens_BT)
        keys, values = [], []
        for i, block in enumerate(self.blocks):
            q_BHTK, k_BJTK, v_BJTK = _project(block, model, x_BTM, rotation)
            keys.append(jax.lax.dynamic_update_slice_in_dim(cache.keys[i], k_BJTK, start, axis=2))
            values.append(jax.lax.dynamic_update_slice_in_dim(cache.values[i], v_BJTK, start, axis=2))
            x_BTM = x_BTM + _output(block, attend(q_BHTK, keys[i], values[i], mask_TS))
            x_BTM = x_BTM + _feed_forward(block, model, x_BTM)
        return self._logits(x_BTM), Cache(jnp.stack(keys), jnp.stack(values), start + time)

    def _logits(self, x_BTM: jax.Array) -> jax.Array:
        head_VM = self.token_embd if self.output is None else self.output
        return _norm_linear(x_BTM, self.output_norm[...], head_VM[...].T, self.model.norm_eps)[0]


def empty_cache(model: ModelSpec, batch_size: int, length: int | None = None) -> Cache:
    """A cache for ``batch_size`` sequences of up to ``length`` tokens (by default the training context)."""
    space = model.context if length is None else length
    shape = (model.n_layers, batch_size, model.n_kv_heads, space, model.head_width)
    return Cache(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros((), jnp.int32))


def rope_table(model: ModelSpec, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines float32[length, K/2] of ``position · rope_base^(−2i/K)``.

    Source: Su et al. 2021, arXiv 2104.09864.
    """
    frequency = model.rope_base ** (-np.arange(0, model.head_width, 2) / model.head_width)
    angle = np.arange(length)[:, None] * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def embed(table_VM: jax.Array, tokens_BT: jax.Array) -> jax.Array:
    """Rows of the token table."""
    return table_VM[tokens_BT]


def _project(block: Block, model: ModelSpec, x_BTM: jax.Array, rotation) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rotated queries and keys, and values, heads first."""
    return split_heads(_qkv(block, model, x_BTM), *rotation, model.n_heads, model.n_kv_heads)


def _qkv(block: Block, model: ModelSpec, x_BTM: jax.Array) -> jax.Array:
    """Queries, keys and values side by side, [B, T, (H + 2J)·K]; the two of a pair to be rotated lie K/2 apart.

    How the width of a head is ordered does not matter to attention, and halves are rotated faster than neighbours.
    """
    k = model.head_width
    even_first = partial(_even_first, rotated=(model.n_heads + model.n_kv_heads) * k, head_width=k)
    return _norm_linear(x_BTM, block.attn_norm[...], block.attn_qkv[...], model.norm_eps, even_first)[0]


def _even_first(array: jax.Array, rotated: int, head_width: int) -> list[jax.Array]:
    """Of the first ``rotated`` columns the even ones of each head before its odd ones; the others as they are."""
    pairs = array[..., :rotated].reshape(*array.shape[:-1], -1, head_width // 2, 2).swapaxes(-1, -2)
    return [jnp.concatenate([pairs.reshape(*array.shape[:-1], rotated), array[..., rotated:]], axis=-1)]


def _output(block: Block, mixed_BHTK: jax.Array) -> jax.Array:
    """What the heads, side by side, add to the residual stream."""
    return linear(side_by_side(mixed_BHTK), block.attn_output[...])


def _feed_forward(block: Block, model: ModelSpec, x_BTM: jax.Array) -> jax.Array:
    halves = partial(jnp.split, indices_or_sections=2, axis=-1)
    gate_BTF, up_BTF = _norm_linear(x_BTM, block.ffn_norm[...], block.ffn_gate_up[...], model.norm_eps, halves)
    return linear(jax.nn.silu(gate_BTF) * up_BTF, block.ffn_down[...])


def _norm_linear(
    x_BTM: jax.Array, gain_M: jax.Array, weight_MN: jax.Array, eps: float, arrange: Callable = lambda array: [array]
) -> list[jax.Array]:
    """``arrange((x/rms(x)·gain) @ weight)``, where ``arrange`` cuts or orders the last axis.

    Whichever is smaller is multiplied by the gain and arranged: the weights in training, the tokens in decoding.
    """
    b, t, m = x_BTM.shape
    x_BTM = rms_normalise(x_BTM, eps)
    if b * t > m:
        return [linear(x_BTM, part) for part in arrange(gain_M[:, None] * weight_MN)]
    return arrange(linear(x_BTM * gain_M[None, None], weight_MN))


def _normal(key: jax.Array, shape: tuple[int, ...], std: float) -> jax.Array:
    return std * jax.random.normal(key, shape)


def to_tensors(student: Student) -> Tensors:
    """The student's weights as float32 arrays under their GGUF names, matrices as [out, in].

    ``output.weight`` is absent where the head is tied, which is how GGUF says it.
    """
    model = student.model
    q, kv = model.n_heads * model.head_width, model.n_kv_heads * model.head_width
    tensors = {"token_embd.weight": _array(student.token_embd), "output_norm.weight": _array(student.output_norm)}
    if student.output is not None:
        tensors["output.weight"] = _array(student.output)
    for i, block in enumerate(student.blocks):
        parts = {"attn_norm": _array(block.attn_norm), "ffn_norm": _array(block.ffn_norm)}
        parts |= zip(("attn_q", "attn_k", "attn_v"), np.split(_array(block.attn_qkv).T, [q, q + kv]), strict=True)
        parts |= zip(("ffn_gate", "ffn_up"), np.split(_array(block.ffn_gate_up).T, 2), strict=True)
        parts |= {"attn_output": _array(block.attn_output).T, "ffn_down": _array(block.ffn_down).T}
        tensors |= {f"blk.{i}.{name}.weight": np.ascontiguousarray(part) for name, part in parts.items()}
    return tensors


def from_tensors(model: ModelSpec, tensors: Mapping[str, np.ndarray]) -> Student:
    """The student that :func:`to_tensors` described.

    Raises:
        TrainError: if a tensor is missing, unknown, or has another shape than the model says.
    """
    student = abstract_student(model)
    if wrong := misfit(model, tensors):
        raise TrainError(f"{wrong}; read them with the ModelSpec they were written with")
    set_param(student.token_embd, tensors["token_embd.weight"])
    set_param(student.output_norm, tensors["output_norm.weight"])
    if student.output is not None:
        set_param(student.output, tensors["output.weight"])
    for i, block in enumerate(student.blocks):
        own = f"blk.{i}."
        part = {
            name.removeprefix(own).removesuffix(".weight"): tensor
            for name, tensor in tensors.items()
            if name.startswith(own)
        }
        set_param(block.attn_norm, part["attn_norm"])
        set_param(block.ffn_norm, part["ffn_norm"])
        # GGUF stores a matrix as [out, in]; the student multiplies by [in, out], q, k and v in one product.
        set_param(block.attn_qkv, np.concatenate([part["attn_q"], part["attn_k"], part["attn_v"]]).T)
        set_param(block.ffn_gate_up, np.concatenate([part["ffn_gate"], part["ffn_up"]]).T)
        set_param(block.attn_output, part["attn_output"].T)
        set_param(block.ffn_down, part["ffn_down"].T)
    return student


def abstract_student(model: ModelSpec) -> Student:
    """A student of shapes without values, to be filled."""
    return nnx.eval_shape(lambda: Student(model))


def set_param(param: nnx.Param, value: np.ndarray) -> None:
    """Give one parameter its value."""
    param.set_value(jnp.asarray(value, jnp.float32))


def _array(param: nnx.Param) -> np.ndarray:
    return np.asarray(param[...], np.float32)
