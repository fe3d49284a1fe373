"""Products in C++ are as exact as those of XLA."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.train.native.parts import PRODUCTS
from scaling.train.student import kernels
from scaling.train.student.kernels import linear, native_product, xla_product

needs_native = pytest.mark.skipif(PRODUCTS.kind() != "native", reason="this processor has no unit for matrices")

SHAPES = [(32, 32, 32), (96, 64, 160), (320, 128, 96), (544, 352, 64), (1024, 64, 352)]
"""X, M, N: fewer and more rows than a thread takes at once, terms than are kept at once; wider on either side."""


def given(n_tokens: int, width: int, outputs: int, scale: float = 1.0) -> list[np.ndarray]:
    """Tokens, weights, and a gradient of the outputs."""
    rng = np.random.default_rng(n_tokens)
    sizes = [(n_tokens, width), (width, outputs), (n_tokens, outputs)]
    return [rng.normal(size=size, scale=scale).astype(np.float32) for size in sizes]


def outputs_and_gradients(product, x_XM, weight_MN, dy_XN) -> list[np.ndarray]:
    y_XN, back = jax.vjp(product, jnp.asarray(x_XM), jnp.asarray(weight_MN))
    return [np.asarray(part) for part in (y_XN, *back(jnp.asarray(dy_XN)))]


def exact(x_XM, weight_MN, dy_XN) -> list[np.ndarray]:
    x_XM, weight_MN, dy_XN = (part.astype(np.float64) for part in (x_XM, weight_MN, dy_XN))
    return [x_XM @ weight_MN, dy_XN @ weight_MN.T, x_XM.T @ dy_XN]


@needs_native
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_they_are_exact_to_float32(shape, scale):
    """Within two dozen roundings of the largest sum, as those of XLA are."""
    parts = given(*shape, scale)
    rounding = 2.0**-24
    for product in (native_product, xla_product):
        for found, expected in zip(outputs_and_gradients(product, *parts), exact(*parts), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=24 * rounding * np.abs(expected).max())


@needs_native
@pytest.mark.parametrize("shape", [(64, 8192, 64), (8192, 64, 64), (64, 64, 8192)])
def test_long_sums_of_one_sign_are_as_exact(shape):
    """What is added to a sum that grows is rounded to the bits of that sum, each time."""
    parts = [np.abs(part) for part in given(*shape)]
    for found, expected in zip(outputs_and_gradients(native_product, *parts), exact(*parts), strict=True):
        error = found / expected - 1
        assert abs(error.mean()) < 3e-7
        assert np.sqrt(np.mean(error**2)) < 4e-7


@needs_native
def test_every_bit_of_a_number_counts():
    """Of one term each: 24 bits times a power of two come out as they went in, in all three products."""
    rng = np.random.default_rng(0)
    size = kernels.MULTIPLE
    numbers = rng.integers(2**23, 2**24, size=(size, size)).astype(np.float32)
    powers = np.diag(2.0 ** rng.integers(-20, 20, size)).astype(np.float32)
    for found in outputs_and_gradients(native_product, numbers, powers, numbers)[:2]:
        np.testing.assert_array_equal(found, numbers @ powers)
    np.testing.assert_array_equal(native_product(jnp.asarray(powers), jnp.asarray(numbers)), powers @ numbers)
    weights = outputs_and_gradients(native_product, powers, numbers, numbers)[2]
    np.testing.assert_array_equal(weights, powers @ numbers)


@needs_native
def test_mapped_over_axes_they_are_what_they_are_alone():
    members = [given(64, 96, 64, scale) for scale in (1.0, 2.0, 3.0)]
    alone = [outputs_and_gradients(native_product, *member) for member in members]
    together = [np.stack(parts) for parts in zip(*members, strict=True)]

    def each(x_XM, weight_MN, dy_XN):
        y_XN, back = jax.vjp(native_product, x_XM, weight_MN)
        return y_XN, *back(dy_XN)

    for found, expected in zip(jax.vmap(each)(*together), zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(found, np.stack(expected))
    # One of the factors the same for all: the halves of a batch on the same weights.
    for mapped in ((0, None, 0), (None, 0, None)):
        parts = zip(members[0], mapped, strict=True)
        stacked = [part if axis is None else np.stack([part, part]) for part, axis in parts]
        for found, expected in zip(jax.vmap(each, in_axes=mapped)(*stacked), alone[0], strict=True):
            np.testing.assert_array_equal(found, np.stack([expected, expected]))


@needs_native
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(value):
    x, weight, dy = given(64, 64, 64)
    x[5, 7] = value
    y, dx, dweight = outputs_and_gradients(native_product, x, weight, dy)
    assert not np.isfinite(y[5]).any()
    assert not np.isfinite(dweight[7]).any()
    assert np.isfinite(np.delete(y, 5, axis=0)).all()
    assert np.isfinite(np.delete(dweight, 7, axis=0)).all()
    assert np.isfinite(dx).all()


THREADS = """
import hashlib, numpy as np
from scaling.train.runtime import prepare_process
prepare_process()
from tests.train.native.test_products import given, native_product, outputs_and_gradients, PRODUCTS
assert PRODUCTS.kind() == "native"
for part in outputs_and_gradients(native_product, *given(544, 352, 160)):
    print(hashlib.sha256(part.tobytes()).hexdigest())
"""


@needs_native
@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(with_threads):
    assert len(with_threads(THREADS)) == 1


@needs_native
@pytest.mark.parametrize(
    ("n_tokens", "width", "outputs", "dtype", "fits"),
    [
        (128, 64, 96, jnp.float32, True),
        (96, 64, 96, jnp.float32, False),
        (128, 32, 96, jnp.float32, False),
        (128, 64, 65, jnp.float32, False),
        (130, 64, 96, jnp.float32, False),
        (128, 64, 96, jnp.bfloat16, False),
    ],
)
def test_what_does_not_fit_them_is_left_to_xla(monkeypatch, n_tokens, width, outputs, dtype, fits):
    shapes = [jax.ShapeDtypeStruct(size, dtype) for size in ((1, n_tokens, width), (width, outputs))]
    for kind, expected in (("", fits), ("xla", False)):
        monkeypatch.setenv(PRODUCTS.switch, kind)
        # A function of its own each time: jax keeps what it has traced.
        program = jax.make_jaxpr(lambda x, weight: linear(x, weight))(*shapes)
        assert ("scaling_product" in str(program)) == expected
