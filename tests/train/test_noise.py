"""The gradient noise scale against exact expectations, and against per-sequence gradients of a student."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

from scaling.spec import ModelSpec, OptimSpec
from scaling.train.noise import gradient_noise, noise_scale, probe_of, probed
from scaling.train.step import program


def test_signal_and_noise_are_those_of_the_two_batch_estimator():
    """McCandlish et al. 2018, appendix A.1, written out for B = 6 and b = 3."""
    rng = np.random.default_rng(0)
    first, second = (
        {"a": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)} for _ in range(2)
    )
    flat = [np.concatenate([part.ravel() for part in tree.values()]) for tree in (first, second)]
    small, large = np.mean([grad @ grad for grad in flat]), np.mean(flat, axis=0) @ np.mean(flat, axis=0)
    found = gradient_noise(first, second, 6)
    assert found.signal == pytest.approx((6 * large - 3 * small) / (6 - 3), rel=1e-5)
    assert found.noise == pytest.approx((small - large) / (1 / 3 - 1 / 6), rel=1e-5)


def test_expectations_over_all_batches_are_exact():
    """Four possible sequences, batches of two: the mean over all sixteen batches is the truth, not near it."""
    gradients = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    mean = gradients.mean(0)
    trace = ((gradients - mean) ** 2).sum(1).mean()
    found = [gradient_noise(gradients[i], gradients[j], 2) for i, j in itertools.product(range(4), repeat=2)]
    assert np.mean([one.signal for one in found]) == pytest.approx(mean @ mean, rel=1e-5)
    assert np.mean([one.noise for one in found]) == pytest.approx(trace, rel=1e-5)


def test_the_noise_scale_of_known_covariance_lies_within_its_standard_errors():
    rng, context = np.random.default_rng(2), 40
    true_gradient, sigma = rng.normal(size=200), rng.uniform(0.5, 3, size=200)
    expected = context * (sigma**2).sum() / (true_gradient @ true_gradient)
    probes_of = jax.jit(jax.vmap(lambda first, second: gradient_noise(first, second, 8)))
    scores = []
    for _ in range(40):
        halves = true_gradient + sigma / np.sqrt(4) * rng.normal(size=(2, 400, 200))
        found = noise_scale(*(np.asarray(part) for part in probes_of(*halves.astype(np.float32))), context)
        scores.append((found.tokens - expected) / found.se)
    assert abs(np.mean(scores)) < 3 / np.sqrt(len(scores))
    assert 0.7 < np.std(scores) < 1.4


@pytest.mark.slow
def test_a_probe_of_a_student_agrees_with_the_gradients_of_its_sequences():
    """An odd batch: the last sequence is left out."""
    model = ModelSpec(vocab_size=33, width=32, n_layers=1, context=8)
    made, tokens = program(model, OptimSpec()), np.random.default_rng(0).integers(0, 33, (5, 9), dtype=np.int32)
    params = made.init(0).params
    found = made.probe(params, tokens[:, :-1], tokens[:, 1:])
    _, four = made.step(made.init(0), tokens[:4, :-1], tokens[:4, 1:], np.float32(0))
    assert float(found.signal + found.noise / 4) == pytest.approx(float(four.grad_norm) ** 2, rel=1e-4)


def test_the_objective_is_what_is_probed():
    def objective(params, inputs, targets):
        return ((params[None] * inputs).sum(-1) * targets).mean(), None

    inputs = np.arange(12, dtype=np.float32).reshape(4, 3)
    targets = np.array([1, -1, 2, 0.5], np.float32)
    gradients = inputs * targets[:, None]
    found = probe_of(objective)(np.zeros(3, np.float32), inputs, targets)
    expected = gradient_noise(gradients[:2].mean(0), gradients[2:].mean(0), 4)
    np.testing.assert_allclose(jax.tree.leaves(found), jax.tree.leaves(expected), rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 25, 26, 76, 1000])
def test_probes_depend_on_the_number_of_the_step_alone(steps):
    whole = list(probed(0, steps))
    assert [step for start in range(0, steps, 7) for step in probed(start, min(start + 7, steps))] == whole
    assert whole == [step for step in range(steps) if step % 50 == 25]


def test_a_noise_scale_that_is_not_determined_is_none():
    assert noise_scale(np.zeros(0), np.zeros(0), 40).tokens is None
    assert noise_scale(np.array([1.0, -2.0]), np.array([1.0, 1.0]), 40).tokens is None
    assert noise_scale(np.array([np.nan]), np.array([1.0]), 40).tokens is None
    alone = noise_scale(np.array([2.0]), np.array([3.0]), 40)
    assert (alone.tokens, alone.se) == (60.0, None)
