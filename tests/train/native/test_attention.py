"""Attention in C++ is the attention of XLA."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.train.native.parts import ATTENTION
from scaling.train.student.kernels import native_attention, self_attention

needs_native = pytest.mark.skipif(ATTENTION.kind() != "native", reason="this machine compiles no C++")

SHAPES = [
    (1, 1, 1, 16),
    (7, 2, 2, 16),
    (16, 4, 1, 48),
    (33, 3, 3, 32),
    (40, 4, 2, 32),
    (128, 2, 2, 64),
    (129, 6, 2, 16),
]
"""T, H, J, K: shorter and longer than a block and no multiple of one, every query alone or sharing keys."""


def given(time: int, n_heads: int, n_kv_heads: int, head_width: int, n_sequences: int = 3):
    """Queries, keys and values, angles, and a direction to take the gradient in."""
    rng = np.random.default_rng(time)
    qkv = rng.normal(size=(n_sequences, time, (n_heads + 2 * n_kv_heads) * head_width), scale=1.5)
    angle = rng.uniform(0, 6, size=(time, head_width // 2))
    direction = rng.normal(size=(n_sequences, time, n_heads * head_width))
    return [part.astype(np.float32) for part in (qkv, np.cos(angle), np.sin(angle), direction)]


def mixed_and_gradient(attention, qkv, cosine, sine, direction, heads):
    def both(qkv, direction):  # compiled whole: operation by operation takes many times as long
        mixed, back = jax.vjp(lambda x: attention(x, cosine, sine, *heads), qkv)
        return mixed, back(direction)[0]

    return [np.asarray(part) for part in jax.jit(both)(qkv, direction)]


@needs_native
@pytest.mark.parametrize(("time", "n_heads", "n_kv_heads", "head_width"), SHAPES)
def test_it_is_the_attention_of_xla(monkeypatch, time, n_heads, n_kv_heads, head_width):
    parts, heads = given(time, n_heads, n_kv_heads, head_width), (n_heads, n_kv_heads)
    found = mixed_and_gradient(native_attention, *parts, heads)
    monkeypatch.setenv(ATTENTION.switch, "xla")
    for one, reference in zip(found, mixed_and_gradient(self_attention, *parts, heads), strict=True):
        np.testing.assert_allclose(one, reference, atol=3e-6 * max(1.0, np.abs(reference).max()))


@needs_native
def test_mapped_over_axes_it_is_what_it_is_alone():
    *parts, direction = given(24, 4, 2, 16, n_sequences=6)
    qkv, direction = (part.reshape(3, 2, *part.shape[1:]) for part in (parts[0], direction))

    def both(qkv, direction):
        mixed, back = jax.vjp(lambda x: native_attention(x, *parts[1:], 4, 2), qkv)
        return mixed, back(direction)[0]

    alone = [both(*pair) for pair in zip(qkv, direction, strict=True)]
    for found, expected in zip(jax.vmap(both)(qkv, direction), zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(found, np.stack(expected))
    # One of the two the same for all: it is what autodiff maps where one thing is pulled back in several directions.
    several = jax.vmap(both, in_axes=(None, 0))(qkv[0], direction)
    np.testing.assert_array_equal(several[1], np.stack([both(qkv[0], one)[1] for one in direction]))


@needs_native
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", range(3))
def test_what_is_not_finite_is_not_hidden(value, part):
    qkv, cosine, sine, direction = given(20, 1, 1, 16)
    qkv[1, 5, 16 * part] = value
    mixed, gradient = mixed_and_gradient(native_attention, qkv, cosine, sine, direction, (1, 1))
    assert not np.isfinite(mixed[1, 5]).all()
    assert not np.isfinite(gradient[1]).all()
    assert np.isfinite(mixed[[0, 2]]).all()
    assert np.isfinite(gradient[[0, 2]]).all()


THREADS = """
import hashlib, jax, numpy as np
from scaling.train.runtime import prepare_process
prepare_process()
from tests.train.native.test_attention import given, mixed_and_gradient
from scaling.train.student.kernels import native_attention
from scaling.train.native.parts import ATTENTION
assert ATTENTION.kind() == "native"
found = jax.jit(lambda *parts: jax.vjp(lambda x: native_attention(x, *parts[1:3], 4, 2), parts[0])[1](parts[3]))(
    *given(70, 4, 2, 32))
print(hashlib.sha256(np.asarray(found[0]).tobytes()).hexdigest())
"""


@needs_native
@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(with_threads):
    assert len(with_threads(THREADS)) == 1


@needs_native
def test_heads_that_do_not_fit_it_are_left_to_xla():
    qkv, cosine, sine, direction = given(12, 2, 1, 8)
    mixed, gradient = mixed_and_gradient(self_attention, qkv, cosine, sine, direction, (2, 1))
    assert mixed.shape == direction.shape
    assert gradient.shape == qkv.shape
