"""Distillation recipes: how a student learns from what it reads. One class a recipe; what it computes is one file of
``scaling/train/distill/``."""

from __future__ import annotations

from typing import ClassVar, Literal

from scaling.registry import Registry
from scaling.spec.data import DataSpec
from scaling.spec.model import ModelSpec
from scaling.spec.schema import KindSpec
from scaling.spec.targets import SoftTargets, Targets, TokenTargets


class DistillSpec(KindSpec):
    """A recipe with its settings."""

    kinds: ClassVar[Registry[type[KindSpec]]] = Registry("distillation recipe", group="scaling.distill_specs")

    learns_from: ClassVar[type[Targets]] = Targets
    """Targets that the recipe can use."""
    needs_same_tokens: ClassVar[bool] = True
    """False where the student may have other tokens than its teacher."""
    aims_at_loss: ClassVar[bool] = True
    """False where what is minimised is not least where the loss on tokens is: no law of the loss describes it."""
    has_start: ClassVar[bool] = False
    """True where it says itself which weights a student begins with."""

    def teacher_passes(self, tokens: int) -> float:
        """Forward passes of the teacher's network that a student of so many tokens asks for, a token; backward is two.

        Writing the text is not among them.
        """
        return 0.0

    def own_passes(self) -> float:
        """Forward passes of the student beside those of its training, a token: what it writes itself."""
        return 0.0

    def stage_steps(self, step_tokens: int) -> int:
        """Steps of a first stage, in which the loss on tokens is not learned yet.

        Args:
            step_tokens: Tokens of a batch.
        """
        return 0

    def check_tokens(self, tokens: int) -> None:  # noqa: B027
        """Raise ValueError, with what to change, where so many tokens are too few for the recipe."""

    def check(self, data: DataSpec, model: ModelSpec) -> None:
        """Raise ValueError, with what to change, where a student of this shape cannot learn so from this data."""
        targets = data.targets
        if not isinstance(targets, self.learns_from):
            usable = [kind for kind, one in Targets.kinds.items() if issubclass(one, self.learns_from)]
            raise ValueError(
                f"distill: {self.kind} cannot learn from targets of kind {targets.kind}; set data.targets to one of "
                f"{', '.join(usable)}, or leave distill out"
            )
        if self.needs_same_tokens and data.is_recut:
            others = [kind for kind, one in self.kinds.items() if not getattr(one, "needs_same_tokens", True)]
            raise ValueError(
                f"distill: {self.kind} compares teacher and student token by token, and the teacher has "
                f"{data.generator.writes(data.source).vocab_size} tokens, the student {data.source.vocab_size}; give "
                f"both one tokenizer, or choose from {', '.join(others)}"
            )


@DistillSpec.add_kind
class SequenceDistill(DistillSpec):
    """The tokens that the teacher wrote are all that is learned.

    **Source:** Kim & Rush 2016, arXiv 1606.07947 (sequence-level distillation).
    """

    learns_from: ClassVar[type[Targets]] = TokenTargets
    needs_same_tokens: ClassVar[bool] = False

    kind: Literal["sequence"] = "sequence"


@DistillSpec.add_kind
class LogitDistill(DistillSpec):
    """The teacher's distribution of the next token is learned beside the tokens; the targets say how much of it.

    **Source:** Hinton et al. 2015, arXiv 1503.02531.
    """

    learns_from: ClassVar[type[Targets]] = SoftTargets

    kind: Literal["logit"] = "logit"


def usual_recipe(targets: Targets) -> DistillSpec:
    """What a run does that names no recipe."""
    return LogitDistill() if isinstance(targets, SoftTargets) else SequenceDistill()
