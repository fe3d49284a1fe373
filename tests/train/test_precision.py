"""Arithmetic in bfloat16: the same training to its rounding, with weights that stay float32."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.spec import ModelSpec, OptimSpec
from scaling.train.step import program

MODEL = ModelSpec(vocab_size=65, width=32, context=24)


def losses_of(precision: str, steps: int = 40) -> tuple[list[float], set[str]]:
    """Training losses of one repeated batch, and the types of what is kept between steps."""
    made = program(MODEL, OptimSpec(batch_size=8, precision=precision))
    tokens = np.random.default_rng(0).integers(65, size=(8, 24), dtype=np.int32)
    state, losses = made.init(0), []
    for _ in range(steps):
        state, log = made.step(state, tokens, tokens, np.float32(0.01))
        losses.append(float(log.loss))
    return losses, {str(leaf.dtype) for leaf in jax.tree.leaves(state) if leaf.ndim}


@pytest.mark.slow
def test_a_training_in_bfloat16_follows_the_one_in_float32_and_keeps_float32_weights():
    plain, _ = losses_of("float32")
    rounded, kept = losses_of("bfloat16")
    assert kept == {"float32"}
    assert rounded != plain
    np.testing.assert_allclose(rounded, plain, rtol=0.02)


def test_the_arithmetic_is_part_of_a_run_and_the_usual_one_changes_no_id(run_spec):
    usual = run_spec()
    other = usual.model_copy(update={"optim": usual.optim.model_copy(update={"precision": "bfloat16"})})
    assert "precision" not in usual.canonical_json()
    assert other.run_id != usual.run_id
