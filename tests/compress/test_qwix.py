"""Our schemes beside those of qwix, a JAX library that nobody here wrote; it is used for nothing else."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from scaling.compress.scheme import SCHEMES

qwix = pytest.importorskip("qwix", reason="a cross-check alone: pip install qwix")

ROWS = np.random.default_rng(0).standard_t(4, (48, 64)).astype(np.float32)
ROWS[3], ROWS[4] = np.abs(ROWS[3]), 0.0  # one-sided, and of zeros


def test_zero_points_and_integers_of_affine_rows_are_those_of_qwix():
    rows = np.delete(ROWS, 4, axis=0)  # what the scale of a row of zeros is, is a matter of taste
    theirs = qwix.quantize(jnp.asarray(rows), "int8", channelwise_axes=[0], calibration_method="minmax")
    ours = SCHEMES["affine_channel"].quantize(rows)
    np.testing.assert_array_equal(np.asarray(theirs.qvalue), ours.values)
    np.testing.assert_array_equal(np.asarray(theirs.zero_point), ours.zero_points)
    np.testing.assert_allclose(np.asarray(theirs.scale), ours.scales, rtol=1e-6)


@pytest.mark.parametrize(("scheme", "tile"), [("symmetric_channel", None), ("q8_0", 32)])
def test_symmetric_scales_are_those_of_qwix_but_for_the_half_step_that_it_counts_with(scheme, tile):
    """127 integers on a side stand for the largest weight here and in the deployed formats, 127.5 there."""
    tiled = {} if tile is None else {"tiled_axes": {1: tile}}
    theirs = qwix.quantize(jnp.asarray(ROWS), "int8", channelwise_axes=[0], **tiled)
    ours = SCHEMES[scheme].quantize(ROWS)
    largest = ROWS.any(axis=1)
    expected = np.asarray(theirs.scale)[largest] * (127.5 / 127)
    # An f16 scale has eleven bits.
    np.testing.assert_allclose(ours.scales[largest].astype(np.float32), expected, rtol=6e-4)
    assert np.abs(np.asarray(theirs.qvalue, int) - ours.values).max() <= 1
    # Half an integer beyond the last one is clipped, which ours need not be.
    ours_off, theirs_off = (np.abs(back - ROWS).mean() for back in (ours.dequantize(), qwix.dequantize(theirs)))
    assert 0.9 * theirs_off < ours_off <= theirs_off
