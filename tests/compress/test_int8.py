"""int8 in both layouts: error bounds, exact zeros, equality with the reference, and exact bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scaling.accounting import tensor_shapes, weights_bytes
from scaling.compress.int8 import QuantizedStudent, quantize, quantize_affine
from scaling.errors import ExportError
from scaling.formats.quantized import quantize_q8_0
from scaling.spec import ModelSpec

# One shape, so that the quantizer is compiled once.
weights = hnp.arrays(
    np.float32, (3, 64), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False), fill=st.just(0.0)
)


@given(weights, st.sampled_from([1e-12, 1.0]))
@settings(max_examples=80, deadline=None)
def test_affine_weights_return_within_half_a_scale_and_zeros_exactly(w, unit):
    w = w * np.float32(unit)
    q = quantize_affine(w)
    error = np.abs(q.dequantize() - w)
    # Half a step, and what float32 loses when it counts up to 255 steps.
    assert np.all(error <= q.scales * (0.5 + 1e-4))
    assert np.all(q.dequantize()[w == 0] == 0)


def test_affine_uses_the_whole_range_of_a_one_sided_row():
    w = np.linspace(0, 1, 64, dtype=np.float32)[None]
    q = quantize_affine(w)
    assert (q.values.min(), q.values.max()) == (-128, 127)
    assert q.zero_points.tolist() == [[-128]]
    assert q.scales.item() == pytest.approx(1 / 255, rel=1e-6)


def test_affine_is_finer_than_symmetric_for_lopsided_weights():
    w = np.random.default_rng(0).exponential(size=(8, 256)).astype(np.float32)
    symmetric = np.abs(w).max(axis=1, keepdims=True) / 127
    assert np.all(quantize_affine(w).scales < 0.51 * symmetric)


@given(weights, st.sampled_from([1e-40, 1e-7, 1.0]))
@settings(max_examples=80, deadline=None)
def test_q8_0_is_bit_equal_to_the_reference(w, unit):
    gguf = pytest.importorskip("gguf", reason="the reference is in the gguf package: pip install 'scaling[export]'")
    w = w * np.float32(unit)
    w[np.abs(w) < 1e-35] = 0  # the reference divides by zero for denormal scales
    q = quantize_q8_0(w)
    reference = gguf.quantize(w, gguf.GGMLQuantizationType.Q8_0).reshape(3, 2, 34)
    assert np.array_equal(reference[..., :2].copy().view(np.float16)[..., 0], q.scales)
    assert np.array_equal(reference[..., 2:].view(np.int8), q.values.reshape(3, 2, 32))


def test_q8_0_rounds_halves_away_from_zero():
    w = np.zeros((1, 32), np.float32)
    w[0, :5] = [127, 0.5, -0.5, 1.5, 2.5]
    assert quantize_q8_0(w).values[0, :5].tolist() == [127, 1, -1, 2, 3]


def test_q8_0_of_what_was_dequantized_changes_nothing():
    w = np.random.default_rng(1).standard_normal((16, 96)).astype(np.float32)
    once = quantize_q8_0(w).dequantize()
    assert np.array_equal(quantize_q8_0(once).dequantize(), once)


def test_weights_below_every_f16_scale_become_zero_without_a_warning():
    w = np.full((1, 32), 1e-41, np.float32)
    assert np.all(quantize_q8_0(w).dequantize() == 0)


@pytest.mark.parametrize("scheme", ["affine_channel", "q8_0"])
def test_a_student_has_the_bytes_that_were_counted_and_norms_untouched(scheme):
    model = ModelSpec(vocab_size=65, width=64, n_layers=2, context=40, tied_embeddings=False)
    rng = np.random.default_rng(0)
    tensors = {key: rng.standard_normal(shape, np.float32) for key, shape in tensor_shapes(model).items()}
    student = quantize(tensors, scheme)
    assert student.n_bytes == weights_bytes(model, "Q8_0" if scheme == "q8_0" else "affine_channel")
    back = student.dequantize()
    assert back.keys() == tensors.keys()
    assert np.array_equal(back["blk.1.ffn_norm.weight"], tensors["blk.1.ffn_norm.weight"])
    spread = {key: np.abs(back[key] - tensors[key]).max() for key in tensors if tensors[key].ndim == 2}
    assert all(0 < error < 0.03 for error in spread.values())


def test_a_diverged_student_is_refused_by_name():
    with pytest.raises(ExportError, match="token_embd.weight holds weights that are not finite"):
        quantize({"token_embd.weight": np.full((2, 32), np.nan, np.float32)})


def test_unknown_schemes_and_half_a_measurement_are_refused():
    with pytest.raises(ExportError, match="unknown scheme 'q4' — allowed: affine_channel, q8_0, q4_0, f16, f32"):
        quantize({}, "q4")
    with pytest.raises(ExportError, match="measure both on one set, or neither"):
        QuantizedStudent(scheme="q8_0", matrices={}, vectors={}, loss_before=1.0)
    with pytest.raises(ExportError, match="the student's loss is nan; the training diverged"):
        QuantizedStudent(scheme="q8_0", matrices={}, vectors={}).with_loss(2.0, float("nan"))
