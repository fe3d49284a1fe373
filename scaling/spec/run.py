"""One run: model, data, optimizer, evaluation, tokens and seed; its ids are hashes of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, model_validator

from scaling.spec.data import DataSpec
from scaling.spec.distill import DistillSpec, usual_recipe
from scaling.spec.model import ModelSpec
from scaling.spec.schema import SCHEMA_VERSION, GrownSpec, canonical_json, short_hash
from scaling.spec.start import check_start
from scaling.spec.training import EvalSpec, OptimSpec


class RunSpec(GrownSpec):
    """Every input of one run.

    ``run_id`` is the blake2b hash (10 hex digits) of the canonical JSON; ``trunk_id`` is the same hash without
    ``tokens``: runs that differ in nothing else are branches of one training.
    """

    later: ClassVar[frozenset[str]] = frozenset({"distill", "start_from"})

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelSpec
    data: DataSpec
    distill: SerializeAsAny[DistillSpec] | None = None
    """How the student learns from what it reads; by default as its targets suggest."""
    optim: OptimSpec = OptimSpec()
    evaluation: EvalSpec = EvalSpec()
    start_from: RunSpec | None = None
    """The run whose student goes on to learn here, by its weights alone: optimizer and rates begin anew."""
    tokens: Annotated[int, Field(ge=1)]
    """D asked for; what is seen is the nearest whole number of steps, at least one."""
    seed: int = 0
    """Of the initial weights."""

    @model_validator(mode="after")
    def _memory_outlasts_a_step(self) -> RunSpec:
        for name in ("beta2_half_life_tokens", "weight_decay_timescale_tokens"):
            tokens = getattr(self.optim, name)
            if tokens is not None and tokens < self.step_tokens:
                raise ValueError(
                    f"optim.{name}: {tokens} is shorter than one step of {self.step_tokens} tokens "
                    f"(batch_size × context); give at least {self.step_tokens}, or lower optim.batch_size"
                )
        return self

    @model_validator(mode="after")
    def _recipe_can_use_its_targets(self) -> RunSpec:
        self.recipe.check(self.data, self.model)
        self.recipe.check_tokens(self.tokens)
        return self

    @model_validator(mode="after")
    def _can_be_measured_as_asked(self) -> RunSpec:
        self.evaluation.check(self.data.source, self.model.context)
        return self

    @model_validator(mode="after")
    def _can_go_on_from_its_start(self) -> RunSpec:
        if self.start_from is not None:
            check_start(self.recipe, self.model, self.data, self.start_from.model, self.start_from.data)
        return self

    @property
    def recipe(self) -> DistillSpec:
        """How the student learns from what it reads."""
        return self.distill or usual_recipe(self.data.targets)

    def is_silent(self, name: str) -> bool:
        return self.recipe == usual_recipe(self.data.targets) if name == "distill" else super().is_silent(name)

    @property
    def step_tokens(self) -> int:
        """Tokens one optimizer step reads."""
        return self.optim.batch_size * self.model.context

    @property
    def steps(self) -> int:
        """Optimizer steps of the run, cooldown included."""
        return max(1, round(self.tokens / self.step_tokens))

    @property
    def cooldown_steps(self) -> int:
        """Steps of the final cooldown, at least one."""
        return min(self.steps, max(1, round(self.optim.cooldown * self.steps)))

    @property
    def branch_step(self) -> int:
        """Step at which the run leaves its trunk and cools down."""
        return self.steps - self.cooldown_steps

    @property
    def n_tokens(self) -> int:
        """D seen: whole steps times tokens a step."""
        return self.steps * self.step_tokens

    def canonical_json(self, *, exclude: frozenset[str] = frozenset()) -> str:
        """The one spelling that is hashed: sorted keys, no spaces, no NaN."""
        return canonical_json(self.model_dump(mode="json", exclude=set(exclude)))

    @cached_property
    def run_id(self) -> str:
        return short_hash(self.canonical_json())

    @cached_property
    def trunk_id(self) -> str:
        return short_hash(self.canonical_json(exclude=frozenset({"tokens"})))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> RunSpec:
        """A copy with other values (which are not validated) and with its own ids."""
        copy = super().model_copy(update=update, deep=deep)
        for name in ("run_id", "trunk_id"):
            copy.__dict__.pop(name, None)
        return copy


def trunk_steps(branches: Sequence[RunSpec]) -> int:
    """Optimizer steps of a trunk: what its branches share once, and every cooldown."""
    return max(run.branch_step for run in branches) + sum(run.cooldown_steps for run in branches)
