"""The two operations whose gradients are written out, because what autodiff makes of them is slow.

The mathematics is unchanged; only the order and layout of the products differ. Figures are of one thread of a
processor with AVX-512. Shape suffixes as in ``model.py``, and N outputs, X = B·T tokens, R = G·T rows of queries that
share a key–value head.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_ROWS = 64
"""Fewest queries of a causal block."""

MOST_BLOCKS = 4


@jax.custom_vjp
def linear(x_BTM: jax.Array, weight_MN: jax.Array) -> jax.Array:
    """``x @ weight``, all tokens as one matrix."""
    b, t, m = x_BTM.shape
    return (x_BTM.reshape(b * t, m) @ weight_MN).reshape(b, t, -1)


def _linear(x_BTM, weight_MN):
    return linear(x_BTM, weight_MN), (x_BTM, weight_MN)


def _linear_gradient(saved, dy_BTN):
    x_BTM, weight_MN = saved
    x_XM, dy_XN = (part.reshape(-1, part.shape[-1]) for part in (x_BTM, dy_BTN))
    # Written as xᵀ·dy. As the transpose of dyᵀ·x, which is what autodiff says, XLA lays dy out anew and multiplies at
    # 12 – 40 instead of 85 – 95 GFLOP/s.
    dweight_MN = jax.lax.dot_general(x_XM, dy_XN, (((0,), (0,)), ((), ())))
    return (dy_XN @ weight_MN.T).reshape(x_BTM.shape), dweight_MN


linear.defvjp(_linear, _linear_gradient)


def causal_attention(q_BHTK: jax.Array, k_BJTK: jax.Array, v_BJTK: jax.Array) -> jax.Array:
    """Attention of each token over itself and those before it, float32[B, H, T, K].

    Queries are taken in up to four blocks, each with the keys up to its end, so that most of the upper triangle is not
    computed.
    """
    time = q_BHTK.shape[2]
    rows = max(BLOCK_ROWS, -(-time // MOST_BLOCKS))
    blocks = []
    for start in range(0, time, rows):
        stop = min(start + rows, time)
        mask_TS = np.tri(stop, dtype=bool)[start:]
        blocks.append(attend(q_BHTK[:, :, start:stop], k_BJTK[:, :, :stop], v_BJTK[:, :, :stop], mask_TS))
    return jnp.concatenate(blocks, axis=2)


def attend(q_BHTK: jax.Array, k_BJSK: jax.Array, v_BJSK: jax.Array, mask_TS: jax.Array | np.ndarray) -> jax.Array:
    """``softmax(q·kᵀ/√K)·v`` over the keys that a mask admits, float32[B, H, T, K].

    Args:
        q_BHTK: Queries; H/J of them share a key–value head.
        k_BJSK: Keys.
        v_BJSK: Values.
        mask_TS: bool[T, S], at least one true in each row.
    """
    b, h, t, k = q_BHTK.shape
    groups = h // k_BJSK.shape[1]
    q_BJRK = (q_BHTK * k**-0.5).reshape(b, h // groups, groups * t, k)
    mask_RS = jnp.tile(mask_TS, (groups, 1))
    return _attend(q_BJRK, k_BJSK, v_BJSK, mask_RS).reshape(b, h, t, k)


@jax.custom_vjp
def _attend(q_BJRK, k_BJSK, v_BJSK, mask_RS):
    return _softmax_attention(q_BJRK, k_BJSK, v_BJSK, mask_RS)[0]


def _softmax_attention(q_BJRK, k_BJSK, v_BJSK, mask_RS):
    scores_BJRS = jnp.where(mask_RS[None, None], _product(q_BJRK, k_BJSK, 3, 3), -jnp.inf)
    e_BJRS = jnp.exp(scores_BJRS - scores_BJRS.max(-1, keepdims=True))
    z_BJR1 = e_BJRS.sum(-1, keepdims=True)
    out_BJRK = _product(e_BJRS, v_BJSK, 3, 2) / z_BJR1
    return out_BJRK, (q_BJRK, k_BJSK, v_BJSK, e_BJRS, z_BJR1, out_BJRK)


def _attention_gradient(saved, dout_BJRK):
    """With d = dout/z, so that rows of e need no division: de = d·vᵀ − Σ d·out, dq = (e∘de)·k, dkᵀ = qᵀ·(e∘de)."""
    q_BJRK, k_BJSK, v_BJSK, e_BJRS, z_BJR1, out_BJRK = saved
    d_BJRK = dout_BJRK / z_BJR1
    mean_BJR1 = jnp.sum(d_BJRK * out_BJRK, axis=-1, keepdims=True)
    dscores_BJRS = _kept(e_BJRS * (_product(d_BJRK, v_BJSK, 3, 3) - mean_BJR1))
    dq_BJRK = _product(dscores_BJRS, k_BJSK, 3, 2)
    # The narrow factor is transposed instead of the square one: 83 against 48 GFLOP/s at K = 32, 66 against 28 at 16.
    dk_BJKS = _product(_kept(q_BJRK.swapaxes(2, 3)), dscores_BJRS, 3, 2)
    dv_BJKS = _product(_kept(d_BJRK.swapaxes(2, 3)), e_BJRS, 3, 2)
    return dq_BJRK, _kept(dk_BJKS).swapaxes(2, 3), _kept(dv_BJKS).swapaxes(2, 3), None


_attend.defvjp(_softmax_attention, _attention_gradient)


def _product(left: jax.Array, right: jax.Array, left_axis: int, right_axis: int) -> jax.Array:
    """Matrix products of each batch element and head, summed over the given axes."""
    return jax.lax.dot_general(left, right, (((left_axis,), (right_axis,)), ((0, 1), (0, 1))))


def _kept(array: jax.Array) -> jax.Array:
    """An array that exists in this layout; XLA would else fold its transposition into the product."""
    return jax.lax.optimization_barrier(array)
