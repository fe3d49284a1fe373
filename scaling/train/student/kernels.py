"""The operations whose gradients are written out, because what autodiff makes of them is slow.

The mathematics is unchanged; only the order and layout of the products differ. Figures are of one thread of a
processor with AVX-512. Shape suffixes as in ``model.py``, and N outputs, X = B·T tokens, R = G·T rows of queries that
share a key–value head.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from scaling.accounting import causal_blocks
from scaling.train.native.parts import ATTENTION, PRODUCTS

FEWEST_ROWS, NARROWEST, MULTIPLE = 128, 64, 32
"""Of a product in C++: tokens, and numbers of a token on either side; and what all of them are multiples of. The
packing of smaller ones costs what it gains."""

HEADS_OF = 16
"""What the width of a head must be a multiple of for attention in C++."""


def linear(x_BTM: jax.Array, weight_MN: jax.Array) -> jax.Array:
    """``x @ weight``, all tokens as one matrix.

    In float32 and of some size it is a call of C++ where the processor has a unit for matrices, which makes a step of
    width 128 and more 1.1 to 1.4 times as fast (``native/products.cc``).
    """
    b, t, m = x_BTM.shape
    sizes = (b * t, *weight_MN.shape)
    fits = x_BTM.dtype == weight_MN.dtype == jnp.float32 and not any(size % MULTIPLE for size in sizes)
    fits = fits and sizes[0] >= FEWEST_ROWS and min(sizes[1:]) >= NARROWEST
    product = native_product if fits and PRODUCTS.kind() == "native" else xla_product
    return product(x_BTM.reshape(b * t, m), weight_MN).reshape(b, t, -1)


@jax.custom_vjp
def xla_product(x_XM: jax.Array, weight_MN: jax.Array) -> jax.Array:
    """``x @ weight``."""
    return x_XM @ weight_MN


def _xla_product(x_XM, weight_MN):
    return x_XM @ weight_MN, (x_XM, weight_MN)


def _xla_product_gradient(saved, dy_XN):
    x_XM, weight_MN = saved
    # Written as xᵀ·dy. As the transpose of dyᵀ·x, which is what autodiff says, XLA lays dy out anew and multiplies at
    # 12 – 40 instead of 85 – 95 GFLOP/s.
    dweight_MN = jax.lax.dot_general(x_XM, dy_XN, (((0,), (0,)), ((), ())))
    return dy_XN @ weight_MN.T, dweight_MN


xla_product.defvjp(_xla_product, _xla_product_gradient)


@jax.custom_vjp
def native_product(x_XM: jax.Array, weight_MN: jax.Array) -> jax.Array:
    """:func:`xla_product` in float32 by ``native/products.cc``, as exact."""
    y_XN = jax.ShapeDtypeStruct((len(x_XM), weight_MN.shape[1]), jnp.float32)
    return PRODUCTS.call("product", y_XN, x_XM, weight_MN)


def _native_product(x_XM, weight_MN):
    return native_product(x_XM, weight_MN), (x_XM, weight_MN)


def _native_product_gradient(saved, dy_XN):
    dx_XM, dweight_MN = (jax.ShapeDtypeStruct(factor.shape, jnp.float32) for factor in saved)
    return (
        PRODUCTS.call("input_gradient", dx_XM, dy_XN, saved[1]),
        PRODUCTS.call("weight_gradient", dweight_MN, saved[0], dy_XN),
    )


native_product.defvjp(_native_product, _native_product_gradient)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def rms_normalise(x_BTM: jax.Array, eps: float) -> jax.Array:
    """``x / √(mean(x²) + eps)``, the mean over M.

    Source: Zhang & Sennrich 2019, arXiv 1910.07467.
    """
    return _rms_normalise(x_BTM, eps)[0]


def _rms_normalise(x_BTM, eps):
    # The mean and its root are of float32 whatever the arithmetic: of 8 bits a sum over M would keep few.
    inverse_BT1 = jax.lax.rsqrt(jnp.mean(jnp.square(x_BTM.astype(jnp.float32)), axis=-1, keepdims=True) + eps)
    inverse_BT1 = inverse_BT1.astype(x_BTM.dtype)
    y_BTM = x_BTM * inverse_BT1
    return y_BTM, (y_BTM, inverse_BT1)


def _rms_normalise_gradient(eps, saved, dy_BTM):
    """dx = (dy − y·mean(dy·y))/rms."""
    y_BTM, inverse_BT1 = saved
    return (inverse_BT1 * (dy_BTM - y_BTM * jnp.mean(dy_BTM * y_BTM, axis=-1, keepdims=True)),)


rms_normalise.defvjp(_rms_normalise, _rms_normalise_gradient)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def split_heads(
    qkv_BTX: jax.Array, cos_TC: jax.Array, sin_TC: jax.Array, n_heads: int, n_kv_heads: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Queries and keys rotated by their position's angles, and values, heads first.

    Args:
        qkv_BTX: float32[B, T, (H + 2J)·K], queries, keys, values; each query and key with the C = K/2 first members of
            its pairs before the second ones.
        cos_TC: Of the angle of each pair.
        sin_TC: Likewise.
        n_heads: H.
        n_kv_heads: J.

    Returns:
        float32[B, H, T, K], [B, J, T, K], [B, J, T, K].
    """
    return _split_heads(qkv_BTX, cos_TC, sin_TC, n_heads, n_kv_heads)[0]


def _split_heads(qkv_BTX, cos_TC, sin_TC, n_heads, n_kv_heads):
    b, t, _ = qkv_BTX.shape
    heads_BXTK = qkv_BTX.reshape(b, t, n_heads + 2 * n_kv_heads, -1).swapaxes(1, 2)
    turned_BXTK = _rotate(heads_BXTK[:, :-n_kv_heads], cos_TC[None, None], sin_TC[None, None])
    turned_BXTK = _kept(turned_BXTK)  # else each block of the attention would turn its keys again
    q_BHTK, k_BJTK = turned_BXTK[:, :n_heads], turned_BXTK[:, n_heads:]
    return (q_BHTK, k_BJTK, heads_BXTK[:, -n_kv_heads:]), (cos_TC, sin_TC)


def _split_heads_gradient(n_heads, n_kv_heads, saved, gradients):
    """The gradient turned back; laid out by tokens as one array first, which then takes no scattered reads."""
    cos_TC, sin_TC = saved
    heads_BTXK = _kept(jnp.concatenate(gradients, axis=1).swapaxes(1, 2))
    turned_BTXK = _rotate(heads_BTXK[:, :, :-n_kv_heads], cos_TC[None, :, None], -sin_TC[None, :, None])
    dqkv_BTXK = jnp.concatenate([turned_BTXK, heads_BTXK[:, :, -n_kv_heads:]], axis=2)
    return dqkv_BTXK.reshape(*dqkv_BTXK.shape[:2], -1), None, None


split_heads.defvjp(_split_heads, _split_heads_gradient)


def _rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Turn the pairs (x_i, x_{i + K/2}) of the last axis."""
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1).astype(x.dtype)


def self_attention(
    qkv_BTX: jax.Array, cos_TC: np.ndarray, sin_TC: np.ndarray, n_heads: int, n_kv_heads: int
) -> jax.Array:
    """What the heads mix, side by side, [B, T, H·K]: :func:`split_heads` and :func:`causal_attention`.

    On a processor both are one call of C++ where it can be had and fits the head's width, which makes a step 1.1 to 1.4
    times as fast (``native/attention.cc``).
    """
    fits = qkv_BTX.dtype == jnp.float32 and 2 * cos_TC.shape[1] % HEADS_OF == 0
    if fits and ATTENTION.kind() == "native":
        return native_attention(qkv_BTX, cos_TC, sin_TC, n_heads, n_kv_heads)
    q_BHTK, k_BJTK, v_BJTK = split_heads(qkv_BTX, cos_TC, sin_TC, n_heads, n_kv_heads)
    return side_by_side(causal_attention(q_BHTK, k_BJTK, v_BJTK))


def side_by_side(mixed_BHTK: jax.Array) -> jax.Array:
    """[B, H, T, K] as [B, T, H·K]."""
    b, h, t, k = mixed_BHTK.shape
    return mixed_BHTK.swapaxes(1, 2).reshape(b, t, h * k)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def native_attention(
    qkv_BTX: jax.Array, cos_TC: np.ndarray, sin_TC: np.ndarray, n_heads: int, n_kv_heads: int
) -> jax.Array:
    """:func:`self_attention` in float32 by ``native/attention.cc``, which never writes the T × T scores to memory."""
    return _native_attention(qkv_BTX, cos_TC, sin_TC, n_heads, n_kv_heads)[0]


def _native_attention(qkv_BTX, cos_TC, sin_TC, n_heads, n_kv_heads):
    b, t, _ = qkv_BTX.shape
    given = (qkv_BTX, jnp.asarray(cos_TC), jnp.asarray(sin_TC))
    mixed = jax.ShapeDtypeStruct((b, t, 2 * n_heads * cos_TC.shape[1]), jnp.float32)
    log_z = jax.ShapeDtypeStruct((b, n_heads, t), jnp.float32)
    mixed_BTY, log_z_BHT = ATTENTION.call("attention", (mixed, log_z), *given, n_kv_heads=n_kv_heads)
    return mixed_BTY, (*given, mixed_BTY, log_z_BHT)


def _native_attention_gradient(n_heads, n_kv_heads, saved, dmixed_BTY):
    dqkv = jax.ShapeDtypeStruct(saved[0].shape, jnp.float32)
    return ATTENTION.call("attention_gradient", dqkv, *saved, dmixed_BTY, n_kv_heads=n_kv_heads), None, None


native_attention.defvjp(_native_attention, _native_attention_gradient)


def causal_attention(q_BHTK: jax.Array, k_BJTK: jax.Array, v_BJTK: jax.Array) -> jax.Array:
    """Attention of each token over itself and those before it, [B, H, T, K] in the arithmetic of the queries.

    In bfloat16 it is the accelerator's own fused attention where there is one (jax chooses), which never writes the
    T × T scores to memory.
    """
    if q_BHTK.dtype == jnp.float32:
        return blockwise_attention(q_BHTK, k_BJTK, v_BJTK)
    q_BTHK, k_BTJK, v_BTJK = (part.swapaxes(1, 2) for part in (q_BHTK, k_BJTK, v_BJTK))
    # Asked for by name: left to itself, jax takes the unfused form even where the fused one is there.
    kind: Literal["cudnn", "xla"] = "cudnn" if jax.default_backend() == "gpu" else "xla"
    return jax.nn.dot_product_attention(q_BTHK, k_BTJK, v_BTJK, is_causal=True, implementation=kind).swapaxes(1, 2)


@jax.custom_vjp
def blockwise_attention(q_BHTK: jax.Array, k_BJTK: jax.Array, v_BJTK: jax.Array) -> jax.Array:
    """:func:`causal_attention` in float32, float32[B, H, T, K].

    Queries are taken in the blocks of :func:`~scaling.accounting.causal_blocks`, which the memory forecast counts too.
    """
    return _causal_attention(q_BHTK, k_BJTK, v_BJTK)[0]


def _causal_attention(q_BHTK, k_BJTK, v_BJTK):
    outputs, saved = [], []
    for start, stop in causal_blocks(q_BHTK.shape[2]):
        q_BJRK = _rows(q_BHTK[:, :, start:stop] * q_BHTK.shape[3] ** -0.5, k_BJTK.shape[1])
        mask_TS = np.tri(stop, dtype=bool)[start:]
        out_BJRK, e_BJRS, z_BJR1 = _softmax_attention(q_BJRK, k_BJTK[:, :, :stop], v_BJTK[:, :, :stop], mask_TS)
        outputs.append(out_BJRK.reshape(q_BHTK[:, :, start:stop].shape))
        saved.append((q_BJRK, e_BJRS, z_BJR1, out_BJRK))
    return jnp.concatenate(outputs, axis=2), (k_BJTK, v_BJTK, saved)


def _causal_attention_gradient(kept, dout_BHTK):
    """With d = dout/z, so that rows of e need no division: de = d·vᵀ − Σ d·out, dq = (e∘de)·k, dkᵀ = qᵀ·(e∘de)."""
    k_BJTK, v_BJTK, saved = kept
    blocks, scale = causal_blocks(k_BJTK.shape[2]), k_BJTK.shape[3] ** -0.5
    dqs, dks, dvs = [], [], []
    for (start, stop), (q_BJRK, e_BJRS, z_BJR1, out_BJRK) in zip(blocks, saved, strict=True):
        dout_BHRK = dout_BHTK[:, :, start:stop]
        d_BJRK = dout_BHRK.reshape(q_BJRK.shape) / z_BJR1
        mean_BJR1 = jnp.sum(d_BJRK * out_BJRK, axis=-1, keepdims=True)
        dscores_BJRS = _kept(e_BJRS * (_product(d_BJRK, v_BJTK[:, :, :stop], 3, 3) - mean_BJR1))
        dqs.append(scale * _product(dscores_BJRS, k_BJTK[:, :, :stop], 3, 2).reshape(dout_BHRK.shape))
        # The narrow factor is transposed, not the square one: 83 against 48 GFLOP/s at K = 32, 66 against 28 at 16.
        dks.append(_product(_kept(q_BJRK.swapaxes(2, 3)), dscores_BJRS, 3, 2))
        dvs.append(_product(_kept(d_BJRK.swapaxes(2, 3)), e_BJRS, 3, 2))
    dk_BJKT, dv_BJKT = (_kept(_sum_of_blocks(parts, blocks)) for parts in (dks, dvs))
    return jnp.concatenate(dqs, axis=2), dk_BJKT.swapaxes(2, 3), dv_BJKT.swapaxes(2, 3)


blockwise_attention.defvjp(_causal_attention, _causal_attention_gradient)


def _sum_of_blocks(parts: list[jax.Array], blocks: list[tuple[int, int]]) -> jax.Array:
    """The sum of arrays [B, J, K, stop], each of which has a block's keys and those before, as [B, J, K, T]."""
    sums = [
        sum(part[..., start:stop] for part in parts[i + 1 :]) + parts[i][..., start:stop]
        for i, (start, stop) in enumerate(blocks)
    ]
    return jnp.concatenate(sums, axis=-1)


def attend(q_BHTK: jax.Array, k_BJSK: jax.Array, v_BJSK: jax.Array, mask_TS: jax.Array | np.ndarray) -> jax.Array:
    """``softmax(q·kᵀ/√K)·v`` over the keys that a mask admits, float32[B, H, T, K].

    Args:
        q_BHTK: Queries; H/J of them share a key–value head.
        k_BJSK: Keys.
        v_BJSK: Values.
        mask_TS: bool[T, S], at least one true in each row.
    """
    q_BJRK = _rows(q_BHTK * q_BHTK.shape[3] ** -0.5, k_BJSK.shape[1])
    return _softmax_attention(q_BJRK, k_BJSK, v_BJSK, mask_TS)[0].reshape(q_BHTK.shape)


def _rows(q_BHTK: jax.Array, n_kv_heads: int) -> jax.Array:
    """The queries that share a key–value head as rows of one matrix, [B, J, R, K]."""
    b, _, _, k = q_BHTK.shape
    return q_BHTK.reshape(b, n_kv_heads, -1, k)


def _softmax_attention(q_BJRK, k_BJSK, v_BJSK, mask_TS):
    """Output, ``e = exp(scores − their maximum)`` and its sums z."""
    mask_RS = jnp.tile(mask_TS, (q_BJRK.shape[2] // len(mask_TS), 1))
    scores_BJRS = jnp.where(mask_RS[None, None], _product(q_BJRK, k_BJSK, 3, 3), -jnp.inf)
    e_BJRS = jnp.exp(scores_BJRS - scores_BJRS.max(-1, keepdims=True))
    z_BJR1 = e_BJRS.sum(-1, keepdims=True)
    return _product(e_BJRS, v_BJSK, 3, 2) / z_BJR1, e_BJRS, z_BJR1


def _product(left: jax.Array, right: jax.Array, left_axis: int, right_axis: int) -> jax.Array:
    """Matrix products of each batch element and head, summed over the given axes."""
    return jax.lax.dot_general(left, right, (((left_axis,), (right_axis,)), ((0, 1), (0, 1))))


def _kept(array: jax.Array) -> jax.Array:
    """An array that exists in this layout; XLA would else fold its transposition into the product."""
    return jax.lax.optimization_barrier(array)
