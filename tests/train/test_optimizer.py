"""Rates of every step, and one whole step against reference values."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.errors import TrainError
from scaling.spec import ModelSpec, OptimSpec
from scaling.train.optimizer import branch_rates, make_optimizer, trunk_rates
from scaling.train.step import params_of, program, with_params
from scaling.train.student.model import Student, from_tensors, to_tensors


def test_the_trunk_warms_up_linearly_and_stays(run_spec):
    spec = run_spec(tokens=32_000)
    rates = trunk_rates(spec, 0, spec.steps)
    warmup = 3_200 // spec.step_tokens
    np.testing.assert_allclose(np.diff(rates[:warmup]), 1e-2 / warmup, rtol=1e-5)
    np.testing.assert_allclose(rates[warmup:], 1e-2, rtol=1e-6)


def test_a_branch_follows_the_trunk_then_falls_as_one_minus_the_root(run_spec):
    spec = run_spec(tokens=32_000)
    rates, first = branch_rates(spec, 0, spec.steps), spec.steps - spec.cooldown_steps
    np.testing.assert_array_equal(rates[:first], trunk_rates(spec, 0, first))
    done = np.arange(1, spec.cooldown_steps + 1) / (spec.cooldown_steps + 1)
    np.testing.assert_allclose(rates[first:], 1e-2 * (1 - np.sqrt(done)), rtol=1e-5)
    assert rates[-1] > 0
    assert spec.cooldown_steps == round(0.2 * spec.steps)


def test_rates_are_the_same_in_whatever_pieces_they_are_asked_for(run_spec):
    spec = run_spec(tokens=32_000)
    whole = branch_rates(spec, 0, spec.steps)
    pieces = np.concatenate([branch_rates(spec, start, start + 10) for start in range(0, spec.steps, 10)])
    np.testing.assert_array_equal(pieces, whole)


GOLDEN = {
    "loss": [4.222105503082275, 4.205793380737305, 4.279480934143066],
    "grad_norm": [0.6036359071731567, 0.5771703720092773, 0.6142453551292419],
}


def test_three_steps_give_the_reference_losses():
    """Initial values come from NumPy, so that no random generator of jax is part of the reference."""
    model = ModelSpec(vocab_size=65, width=64, n_kv_heads=2, n_layers=2, context=16)
    optim = OptimSpec(
        lr=1e-2,
        batch_size=4,
        beta2_half_life_tokens=865,
        weight_decay_timescale_tokens=64_000,
        z_loss=1e-4,
        grad_clip=0.5,
    )
    rng = np.random.default_rng(0)
    shapes = {name: part.shape for name, part in to_tensors(Student(model)).items()}
    tensors = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    compiled = program(model, optim)
    state = compiled.init(0)._replace(params=params_of(from_tensors(model, tensors)))
    logs = []
    for _ in range(3):
        tokens = rng.integers(0, 65, (4, 17), dtype=np.int32)
        state, log = compiled.step(state, tokens[:, :-1], tokens[:, 1:], np.float32(1e-2))
        logs.append(log)
    found = {name: [float(getattr(log, name)) for log in logs] for name in GOLDEN}
    for name, expected in GOLDEN.items():
        np.testing.assert_allclose(
            found[name],
            expected,
            rtol=2e-5,
            err_msg=f"{name} of the first steps changed. Update GOLDEN to {found} only if the change of model, loss or "
            "optimizer was meant; records of earlier runs are then no longer comparable, and SCHEMA_VERSION must rise",
        )


@pytest.mark.slow
@pytest.mark.parametrize("lr", [0.01, 0.03])
def test_weight_decay_shrinks_every_matrix_by_its_timescale_and_leaves_gains(lr):
    """Whatever the peak rate and the tensor: half the peak rate shrinks a matrix by half of step_tokens/timescale."""
    model = ModelSpec(vocab_size=65, width=64, n_layers=1, context=8)
    with_decay = OptimSpec(lr=lr, batch_size=2, weight_decay_timescale_tokens=800)
    decayed, plain = program(model, with_decay), program(model, OptimSpec(lr=lr, batch_size=2))
    tokens, rate = np.zeros((2, 8), np.int32), np.float32(lr / 2)
    weights = to_tensors(with_params(model, jax.device_get(plain.init(0).params)))
    first = to_tensors(with_params(model, decayed.step(decayed.init(0), tokens, tokens, rate)[0].params))
    second = to_tensors(with_params(model, plain.step(plain.init(0), tokens, tokens, rate)[0].params))
    for name, weight in weights.items():
        expected = -0.5 * (16 / 800) * weight if weight.ndim > 1 else 0.0
        np.testing.assert_allclose(first[name] - second[name], expected, atol=3e-7, err_msg=name)


def test_a_parameter_without_a_rate_is_refused_by_name():
    model = ModelSpec(vocab_size=65, width=32, n_layers=1, context=8)
    params = {"blocks": {0: {"attn_bias": np.ones(3, np.float32)}}}
    transform = make_optimizer(OptimSpec(), model)
    with pytest.raises(TrainError, match=r"blocks\.0\.attn_bias has no learning rate"):
        transform.update(params, transform.init(params), params)
