"""The forward pass that compression looks into, and activations in 8 bits."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.compress.activations import DYNAMIC, in_blocks, ranges_on, static
from scaling.compress.forward import forward
from scaling.compress.scheme import SCHEMES
from scaling.errors import ExportError
from scaling.formats.quantized import quantize_q8_0
from scaling.spec import ModelSpec
from scaling.train.student.model import Student
from tests.students import logits_of

MODEL = ModelSpec(vocab_size=65, width=64, n_layers=2, n_kv_heads=2, context=12)
TOKENS = np.random.default_rng(0).integers(65, size=(3, 12)).astype(np.int32)


@pytest.fixture(scope="module")
def student() -> Student:
    return Student(MODEL, seed=0)


def test_it_computes_what_the_student_computes(student):
    np.testing.assert_allclose(forward(student, TOKENS), logits_of(student, TOKENS), atol=2e-5)


def test_a_tap_sees_every_place_once_and_decides_what_goes_on(student):
    seen: list[str] = []

    def silence(place: str, value: jax.Array) -> jax.Array:
        seen.append(place)
        return value * (place != "blk.1.hidden")

    without = forward(student, TOKENS, silence)
    assert len(seen) == len(set(seen)) == 2 * 8 + 2
    assert not np.allclose(without, forward(student, TOKENS), atol=1e-3)


def test_activations_in_blocks_are_rounded_as_q8_0_rounds_weights():
    x = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)
    ours = np.asarray(in_blocks("blk.0.ffn_in", x))
    theirs = quantize_q8_0(x)
    # A half may be rounded either way: llama.cpp's processor kernels round it to even, its reference away from zero.
    assert np.all(np.abs(ours - theirs.dequantize()) <= np.repeat(theirs.scales, 32, axis=1).astype(np.float32) * 1.01)
    assert np.mean(ours != theirs.dequantize()) < 0.02
    assert in_blocks("blk.0", x) is x


@pytest.mark.slow
def test_eight_bits_of_activations_move_the_logits_little_and_fixed_ranges_more(student):
    exact = np.asarray(forward(student, TOKENS))
    spread = exact.std()
    dynamic = np.abs(np.asarray(DYNAMIC(student, TOKENS)) - exact).mean()
    ranges = ranges_on(student, TOKENS)
    fixed = np.abs(np.asarray(static(ranges)(student, TOKENS)) - exact).mean()
    assert 0 < dynamic < fixed < 0.05 * spread
    narrow = {place: (low / 4, high / 4) for place, (low, high) in ranges.items()}
    assert np.abs(np.asarray(static(narrow)(student, TOKENS)) - exact).mean() > 3 * fixed


def test_a_scheme_that_was_not_calibrated_says_so():
    with pytest.raises(ExportError, match="needs ranges of activations"):
        SCHEMES["w8a8_static"].arithmetic(None)
