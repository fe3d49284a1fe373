"""Distillation recipes: found by their kind, added from outside by two classes, in a run's id."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import pytest
from pydantic import ValidationError

from scaling.errors import TrainError
from scaling.spec import DistillSpec, LogitDistill, RunSpec, SequenceDistill, Targets, TokenTargets
from scaling.train.distill.recipe import RECIPES, Losses, Recipe, recipe_of
from scaling.train.loop import train_trunk
from scaling.train.objective import token_loss


class SmoothedDistill(DistillSpec):
    """A toy recipe: the tokens, each with a share of the uniform distribution."""

    learns_from: ClassVar[type[Targets]] = TokenTargets

    kind: Literal["toy_smoothed"]
    share: float = 0.5


class Smoothed(Recipe):
    def losses(self, student, inputs_BT, tokens_BT, moment):
        logits_BTV = student(inputs_BT)
        loss = token_loss(logits_BTV, tokens_BT)
        uniform = -jnp.mean(jax.nn.log_softmax(logits_BTV))
        return Losses((1 - self.spec.share) * loss + self.spec.share * uniform, loss, logits_BTV)


@pytest.fixture
def toy_recipe(monkeypatch):
    """What another package adds by two entry points: two classes."""
    # Whatever discovery finds must be there before the copies that are put back.
    list(DistillSpec.kinds), list(RECIPES)
    for registry, entry in ((DistillSpec.kinds, SmoothedDistill), (RECIPES, Smoothed)):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        registry.add("toy_smoothed", entry)


def with_recipe(spec, recipe):
    return RunSpec.model_validate({**spec.model_dump(), "distill": recipe})


@pytest.mark.slow
@pytest.mark.usefixtures("toy_recipe")
def test_a_recipe_from_outside_trains_a_student_and_is_part_of_the_run(run_spec, store):
    plain = run_spec(6_400)
    none, half = (with_recipe(plain, {"kind": "toy_smoothed", "share": share}) for share in (0.0, 0.5))
    assert len({plain.run_id, none.run_id, half.run_id}) == 3
    losses = {one: train_trunk([one], store)[0].outcome.train_loss for one in (plain, none, half)}
    # Without a share of noise it is the usual recipe; with one it learns something else.
    assert losses[none] == pytest.approx(losses[plain], abs=1e-5)
    assert losses[half] > losses[plain] + 0.01
    assert store.load(half.run_id).spec.recipe == SmoothedDistill(kind="toy_smoothed", share=0.5)


def test_the_usual_recipe_is_silent_so_that_older_runs_keep_their_ids(run_spec):
    plain = run_spec()
    named = with_recipe(plain, {"kind": "sequence"})
    assert plain.recipe == SequenceDistill()
    assert named.run_id == plain.run_id
    assert "distill" not in plain.canonical_json()
    soft = plain.model_dump() | {"data": {"source": {"kind": "w0"}, "targets": {"kind": "topk", "k": 4}}}
    assert RunSpec.model_validate(soft).recipe == LogitDistill()


def test_a_recipe_that_cannot_use_its_targets_is_refused_with_those_it_can(run_spec):
    with pytest.raises(
        ValidationError, match="logit cannot learn from targets of kind tokens; .* exact, topk, sampled"
    ):
        with_recipe(run_spec(), {"kind": "logit"})


def test_an_unknown_recipe_is_refused(run_spec):
    with pytest.raises(ValidationError, match="'sequence', 'logit'"):
        with_recipe(run_spec(), {"kind": "tinybort"})


@pytest.mark.usefixtures("toy_recipe")
def test_a_recipe_that_is_only_specified_says_what_is_missing(monkeypatch):
    monkeypatch.delitem(RECIPES._entries, "toy_smoothed")
    with pytest.raises(TrainError, match="unknown distillation recipe 'toy_smoothed'"):
        recipe_of(SmoothedDistill(kind="toy_smoothed"), TokenTargets())
