"""Gradients written out, beside those of the plain equations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.train.student.kernels import attend, causal_attention, linear, rms_normalise, split_heads


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def plain_attention(q_BHTK, k_BJSK, v_BJSK, mask_TS):
    groups = q_BHTK.shape[1] // k_BJSK.shape[1]
    k_BHSK, v_BHSK = (jnp.repeat(part, groups, axis=1) for part in (k_BJSK, v_BJSK))
    scores_BHTS = jnp.einsum("bhtk,bhsk->bhts", q_BHTK, k_BHSK) / np.sqrt(q_BHTK.shape[-1])
    weights_BHTS = jax.nn.softmax(jnp.where(mask_TS[None, None], scores_BHTS, -1e30))
    return jnp.einsum("bhts,bhsk->bhtk", weights_BHTS, v_BHSK)


def value_and_gradients(function, *inputs):
    """The value, and the gradients of its product with fixed numbers."""
    value, pull_back = jax.vjp(jax.jit(function), *inputs)
    return [value, *pull_back(jnp.asarray(normal(*value.shape, seed=9)))]


def assert_equal_parts(found, expected):
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, other, atol=1e-5 * max(1.0, float(jnp.abs(other).max())))


@pytest.mark.parametrize(
    ("time", "n_heads", "n_kv_heads", "head_width"),
    [
        *[(1, 3, 3, 6), (7, 6, 1, 10), (64, 4, 2, 16), (65, 6, 2, 10)],
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in [(130, 3, 3, 6), (300, 4, 1, 16)]),
    ],
)
def test_causal_attention_and_its_gradient_are_those_of_the_equation(time, n_heads, n_kv_heads, head_width):
    q = normal(2, n_heads, time, head_width)
    k, v = (normal(2, n_kv_heads, time, head_width, seed=seed) for seed in (1, 2))
    found = value_and_gradients(causal_attention, q, k, v)
    plain = value_and_gradients(lambda *inputs: plain_attention(*inputs, np.tri(time, dtype=bool)), q, k, v)
    assert_equal_parts(found, plain)


@pytest.mark.slow
@pytest.mark.parametrize("n_kv_heads", [1, 4])
def test_attention_in_bfloat16_is_that_of_the_equation_to_its_rounding(n_kv_heads):
    q_BHTK, k_BJTK, v_BJTK = (normal(2, heads, 33, 16, seed=heads) for heads in (4, n_kv_heads, n_kv_heads))
    found = causal_attention(*(jnp.asarray(part, jnp.bfloat16) for part in (q_BHTK, k_BJTK, v_BJTK)))
    assert found.dtype == jnp.bfloat16
    expected = plain_attention(q_BHTK, k_BJTK, v_BJTK, np.tri(33, dtype=bool))
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.03)


def test_attention_over_a_cache_reads_what_the_mask_admits():
    q, k, v = normal(2, 4, 3, 8), normal(2, 2, 11, 8, seed=1), normal(2, 2, 11, 8, seed=2)
    mask = np.arange(11)[None] <= 5 + np.arange(3)[:, None]
    assert_equal_parts(
        value_and_gradients(lambda *inputs: attend(*inputs, mask), q, k, v),
        value_and_gradients(lambda *inputs: plain_attention(*inputs, mask), q, k, v),
    )


def test_attention_of_huge_scores_stays_finite():
    q, k, v = 1e4 * normal(1, 2, 9, 4), 1e4 * normal(1, 2, 9, 4, seed=1), normal(1, 2, 9, 4, seed=2)
    assert all(np.isfinite(part).all() for part in value_and_gradients(causal_attention, q, k, v))


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 4, 1), (3, 64, 33, 65)])
def test_a_linear_layer_and_its_gradient_are_those_of_the_product(shape):
    b, t, m, n = shape
    x, weight = normal(b, t, m), normal(m, n, seed=1)
    assert_equal_parts(value_and_gradients(linear, x, weight), value_and_gradients(jnp.matmul, x, weight))


def test_normalising_and_its_gradient_are_those_of_the_equation():
    x, eps = normal(3, 5, 7), 1e-2
    plain = value_and_gradients(lambda x: x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + eps), x)
    assert_equal_parts(value_and_gradients(lambda x: rms_normalise(x, eps), x), plain)


@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(3, 3), (4, 1)])
def test_pairs_of_queries_and_keys_turn_as_complex_numbers_do(n_heads, n_kv_heads):
    time, k = 5, 6
    angle = np.arange(time)[:, None] * np.array([1.0, 0.3, 0.1], np.float32)

    def turned(heads_BXTK):
        numbers = heads_BXTK[..., : k // 2] + 1j * heads_BXTK[..., k // 2 :]
        numbers = numbers * jnp.exp(1j * angle)[None, None]
        return jnp.concatenate([numbers.real, numbers.imag], axis=-1)

    def plain(qkv_BTX):
        heads_BXTK = qkv_BTX.reshape(2, time, -1, k).swapaxes(1, 2)
        q, k_, v = jnp.split(heads_BXTK, [n_heads, n_heads + n_kv_heads], axis=1)
        return jnp.concatenate([turned(q), turned(k_), v], axis=1)

    def found(qkv_BTX):
        return jnp.concatenate(split_heads(qkv_BTX, np.cos(angle), np.sin(angle), n_heads, n_kv_heads), axis=1)

    qkv = normal(2, time, (n_heads + 2 * n_kv_heads) * k)
    assert_equal_parts(value_and_gradients(found, qkv), value_and_gradients(plain, qkv))


def test_gradients_of_single_sequences_are_those_of_the_batch():
    """Under vmap, as the noise probe and cohorts use them."""
    q, k, v = normal(3, 4, 70, 8), normal(3, 2, 70, 8, seed=1), normal(3, 2, 70, 8, seed=2)
    gradient = jax.grad(lambda *inputs: jnp.sum(causal_attention(*inputs) ** 2), argnums=(0, 1, 2))
    each = jax.jit(jax.vmap(lambda *inputs: gradient(*(part[None] for part in inputs))))(q, k, v)
    assert_equal_parts([part[:, 0] for part in each], jax.jit(gradient)(q, k, v))
