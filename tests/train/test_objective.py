"""What is minimised: formulas written out, and expectations over draws enumerated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.data.targets import top_k
from scaling.errors import Preempted
from scaling.records import RunStore
from scaling.spec import DataSpec, ExactTargets, SampledTargets, TokenTargets, TopKTargets
from scaling.spec.distill import usual_recipe
from scaling.train.distill.recipe import Moment, recipe_of
from scaling.train.loop import train_trunk
from scaling.train.objective import soft_loss, z_loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 3, 6)).astype(np.float32)
TOKENS = RNG.integers(6, size=(2, 3)).astype(np.int32)
LAW = RNG.dirichlet(np.full(6, 0.5), size=(2, 3))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gradient(weights, ids):
    aim = lambda z: soft_loss(z, jnp.asarray(weights, jnp.float32), ids).mean()  # noqa: E731
    return np.asarray(jax.grad(aim)(jnp.asarray(LOGITS)), np.float64)


def losses(batch, targets):
    """What the targets' usual recipe makes of a student whose logits are LOGITS."""
    found = recipe_of(usual_recipe(targets), targets).losses(
        lambda inputs: jnp.asarray(LOGITS), None, batch, Moment(0, {})
    )
    return found.aim, found.loss


def test_the_loss_on_tokens_is_the_mean_of_their_negative_logarithms():
    aim, loss = losses(TOKENS, TokenTargets())
    f = softmax(LOGITS.astype(float))
    by_hand = -np.log(np.take_along_axis(f, TOKENS[..., None], -1)).mean()
    assert loss == pytest.approx(by_hand, rel=1e-6)
    assert aim == loss
    log_z = np.log(np.exp(LOGITS.astype(float)).sum(-1))
    assert z_loss(LOGITS) == pytest.approx((log_z**2).mean(), rel=1e-6)


@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 1.0), (0.3, 1.0), (0.7, 2.0)])
def test_soft_targets_are_weighed_as_the_formula_says(weight, temperature):
    spec = ExactTargets(kind="exact", weight=weight, temperature=temperature)
    aim, loss = losses({"token": TOKENS, "weights": LAW.astype(np.float32)}, spec)
    hard = -np.log(np.take_along_axis(softmax(LOGITS.astype(float)), TOKENS[..., None], -1)).mean()
    soft = -(LAW * np.log(softmax(LOGITS.astype(float) / temperature))).sum(-1).mean()
    assert aim == pytest.approx((1 - weight) * hard + weight * temperature**2 * soft, rel=1e-5)
    assert loss == pytest.approx(hard, rel=1e-6)


def test_the_gradient_on_a_whole_law_is_the_difference_of_the_laws():
    assert gradient(LAW, None) == pytest.approx((softmax(LOGITS.astype(float)) - LAW) / 6, abs=1e-6)


@pytest.mark.parametrize("exponent", [1.0, 0.4])
def test_the_gradient_on_one_draw_is_on_average_over_all_draws_that_on_the_whole_law(exponent):
    """Every outcome of n = 1 enumerated: the estimator is unbiased, with no room for chance."""
    proposal = LAW**exponent / (LAW**exponent).sum(-1, keepdims=True)
    average = 0.0
    for x in range(6):
        ids = np.full((2, 3, 1), x)
        weights = LAW[..., x, None] / proposal[..., x, None]
        average = average + proposal[..., x, None] * gradient(weights, ids)
    assert average == pytest.approx(gradient(LAW, None), abs=1e-6)


@pytest.mark.slow
def test_the_gradient_on_the_likeliest_tokens_is_biased_by_what_they_leave_out():
    gaps = []
    for k in (1, 2, 4, 6):
        ids, weights = top_k(LAW, k)
        kept = np.zeros_like(LAW)
        np.put_along_axis(kept, ids, weights, -1)
        gap = gradient(weights, ids) - gradient(LAW, None)
        assert gap == pytest.approx((LAW - kept) / 6, abs=1e-6)
        gaps.append(np.abs(gap).sum())
    assert gaps[0] > gaps[1] > gaps[2] > 0.01
    assert gaps[3] == pytest.approx(0, abs=1e-5)


KINDS = [ExactTargets(kind="exact"), TopKTargets(kind="topk", k=4, weight=0.7), SampledTargets(kind="sampled", n=12)]


def with_targets(spec, targets):
    return spec.model_copy(update={"data": spec.data.model_copy(update={"targets": targets})})


# Which targets makes no difference to what is saved: one kind is enough for a quick look.
STOPPED = [KINDS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in KINDS[1:])]


@pytest.mark.slow
@pytest.mark.parametrize("targets", STOPPED, ids=lambda targets: targets.kind)
def test_a_training_on_soft_targets_that_was_stopped_ends_as_if_it_had_not_been(run_spec, tmp_path, targets):
    spec = with_targets(run_spec(), targets)
    (whole,) = train_trunk([spec], RunStore(tmp_path / "whole"))
    store = RunStore(tmp_path / "stopped")
    with pytest.raises(Preempted):
        train_trunk([spec], store, should_stop=lambda: True)
    (resumed,) = train_trunk([spec], store)
    assert whole.outcome.status == "done"
    assert resumed.outcome.loss == whole.outcome.loss
    assert resumed.outcome.train_loss == whole.outcome.train_loss


@pytest.mark.slow
def test_students_of_whole_laws_learn_more_from_as_many_tokens(run_spec, tmp_path):
    store = RunStore(tmp_path)
    losses = {
        kind: train_trunk([with_targets(run_spec(), targets)], store)[0].outcome.loss
        for kind, targets in {"tokens": TokenTargets(), **{one.kind: one for one in KINDS}}.items()
    }
    assert losses["exact"] < losses["sampled"] < losses["tokens"]


def test_a_data_specification_names_its_targets():
    data = DataSpec.model_validate({"source": {"kind": "w0"}, "targets": {"kind": "topk", "k": 8}})
    assert data.targets == TopKTargets(kind="topk", k=8)
