"""Quantization schemes: error bounds, exact zeros, equality with the reference, and exact bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scaling.accounting import LAYOUTS, tensor_shapes, weights_bytes
from scaling.compress.scheme import SCHEMES
from scaling.compress.student import QuantizedStudent, quantize
from scaling.errors import ExportError
from scaling.formats.quantized import QuantizedMatrix, quantize_blocks, quantize_q8_0
from scaling.spec import ModelSpec

weights = hnp.arrays(
    np.float32, (3, 64), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False), fill=st.just(0.0)
)


@given(weights, st.sampled_from([1e-12, 1.0]))
@settings(max_examples=80, deadline=None)
def test_affine_weights_return_within_half_a_scale_and_zeros_exactly(w, unit):
    w = w * np.float32(unit)
    q = SCHEMES["affine_channel"].quantize(w)
    error = np.abs(q.dequantize() - w)
    # Half a step, and what float32 loses when it counts up to 255 steps.
    assert np.all(error <= q.scales * (0.5 + 1e-4))
    assert np.all(q.dequantize()[w == 0] == 0)


ROUNDING = [
    name for name, one in SCHEMES.items() if isinstance(one.quantize(np.eye(32, dtype=np.float32)), QuantizedMatrix)
]


@pytest.mark.parametrize("name", ROUNDING)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_weight_returns_within_what_a_quantized_student_promises(name, seed):
    w = np.random.default_rng(seed).normal(size=(64, 64)).astype(np.float32)
    made = SCHEMES[name].quantize(w)
    groups = made.scales.shape[1]
    error, size = (np.abs(x).reshape(64, groups, -1) for x in (w - made.dequantize(), w))
    scales = np.abs(made.scales.astype(np.float32))[..., None]
    rounded = size / 2048 if made.scales.dtype == np.float16 else 1e-4 * scales
    assert (error <= scales * (1.0 if made.bits == 4 else 0.5) + rounded).all()


def test_affine_uses_the_whole_range_of_a_one_sided_row():
    w = np.linspace(0, 1, 64, dtype=np.float32)[None]
    q = SCHEMES["affine_channel"].quantize(w)
    assert (q.values.min(), q.values.max()) == (-128, 127)
    assert q.zero_points.tolist() == [[-128]]
    assert q.scales.item() == pytest.approx(1 / 255, rel=1e-6)


def test_affine_is_finer_than_symmetric_for_lopsided_weights():
    w = np.random.default_rng(0).exponential(size=(8, 256)).astype(np.float32)
    symmetric = np.abs(w).max(axis=1, keepdims=True) / 127
    assert np.all(SCHEMES["affine_channel"].quantize(w).scales < 0.51 * symmetric)


def packed(matrix: QuantizedMatrix) -> np.ndarray:
    """The integers as a reference's file has them, counted from 0."""
    return matrix.values.reshape(3, 2, 32).astype(int) + 2 ** (matrix.bits - 1)


@given(weights, st.sampled_from([1e-40, 1e-7, 1.0]))
@settings(max_examples=60, deadline=None)
def test_blocks_are_bit_equal_to_the_reference(w, unit):
    gguf = pytest.importorskip("gguf", reason="the reference is in the gguf package: pip install 'scaling[export]'")
    w = w * np.float32(0.5 * unit)
    w[np.abs(w) < 1e-35] = 0  # the reference divides by zero for denormal scales
    for name, ours in {"Q8_0": quantize_q8_0(w), "Q4_0": quantize_blocks(w, 4), "Q5_0": quantize_blocks(w, 5)}.items():
        kind = gguf.GGMLQuantizationType[name]
        stored = gguf.quantize(w, kind)
        assert np.array_equal(stored.reshape(3, 2, -1)[..., :2].copy().view(np.float16)[..., 0], ours.scales)
        # Where a scale is too small for f16, the engine reads zeros whatever the integers are.
        assert np.array_equal(gguf.dequantize(stored, kind), ours.dequantize())
        if name == "Q4_0":
            pairs = stored.reshape(3, 2, 18)[..., 2:]
            assert np.array_equal(np.concatenate([pairs & 15, pairs >> 4], axis=-1), packed(ours))
        elif name == "Q8_0":
            assert np.array_equal(stored.reshape(3, 2, 34)[..., 2:].view(np.int8), packed(ours) - 128)


@pytest.mark.parametrize("bits", range(2, 8))
def test_the_largest_weight_of_a_block_returns_exactly_and_the_others_within_a_scale(bits):
    w = np.random.default_rng(bits).standard_normal((4, 64)).astype(np.float16).astype(np.float32)
    w[:, ::32] = 4.0  # the largest of each block, which f16 can hold divided by any power of 2
    q = quantize_blocks(w, bits)
    assert (q.values.min(), q.bits) == (-(2 ** (bits - 1)), bits)
    error = np.abs(q.dequantize() - w).reshape(4, 2, 32)
    assert np.all(error[..., 0] == 0)
    assert np.all(error <= np.abs(q.scales[..., None].astype(np.float32)) * (1 + 1e-3))


def test_q8_0_rounds_halves_away_from_zero():
    w = np.zeros((1, 32), np.float32)
    w[0, :5] = [127, 0.5, -0.5, 1.5, 2.5]
    assert quantize_q8_0(w).values[0, :5].tolist() == [127, 1, -1, 2, 3]


@pytest.mark.parametrize("scheme", ["q8_0", "q4_0"])
def test_what_was_dequantized_is_quantized_to_itself(scheme):
    w = np.random.default_rng(1).standard_normal((16, 96)).astype(np.float32)
    once = SCHEMES[scheme].quantize(w).dequantize()
    assert np.array_equal(SCHEMES[scheme].quantize(once).dequantize(), once)


def test_weights_below_every_f16_scale_become_zero_without_a_warning():
    w = np.full((1, 32), 1e-41, np.float32)
    assert np.all(quantize_q8_0(w).dequantize() == 0)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_student_has_the_bytes_that_were_counted_and_norms_untouched(scheme):
    model = ModelSpec(vocab_size=65, width=64, n_layers=2, context=40, tied_embeddings=False)
    rng = np.random.default_rng(0)
    tensors = {key: rng.standard_normal(shape, np.float32) for key, shape in tensor_shapes(model).items()}
    student = quantize(tensors, scheme)
    assert student.n_bytes == weights_bytes(model, SCHEMES[scheme].storage)
    back = student.dequantize()
    assert back.keys() == tensors.keys()
    assert np.array_equal(back["blk.1.ffn_norm.weight"], tensors["blk.1.ffn_norm.weight"])
    spread = {key: np.abs(back[key] - tensors[key]).max() for key in tensors if tensors[key].ndim == 2}
    bits = LAYOUTS[SCHEMES[scheme].storage].bits
    assert all(error < 8 / 2 ** min(bits, 10) and (error > 0) == (bits < 32) for error in spread.values())


def test_a_diverged_student_is_refused_by_name():
    with pytest.raises(ExportError, match="token_embd.weight holds weights that are not finite"):
        quantize({"token_embd.weight": np.full((2, 32), np.nan, np.float32)})


def test_unknown_schemes_and_half_a_measurement_are_refused():
    with pytest.raises(ExportError, match="unknown quantization scheme 'q4' — did you mean 'q4_0'?"):
        quantize({}, "q4")
    with pytest.raises(ExportError, match="measure both on one set, or neither"):
        QuantizedStudent(scheme="q8_0", matrices={}, vectors={}, loss_before=1.0)
    with pytest.raises(ExportError, match="the student's loss is nan; the training diverged"):
        QuantizedStudent(scheme="q8_0", matrices={}, vectors={}).with_loss(2.0, float("nan"))


def test_symmetric_rows_never_use_the_integer_without_an_opposite():
    w = np.random.default_rng(2).standard_normal((8, 64)).astype(np.float32)
    forth, back = SCHEMES["symmetric_channel"].quantize(w), SCHEMES["symmetric_channel"].quantize(-w)
    assert np.array_equal(forth.values, -back.values)
    assert np.array_equal(np.abs(forth.values).max(axis=1), np.full(8, 127))
    assert np.all(np.abs(forth.dequantize() - w) <= forth.scales * (0.5 + 1e-4))
