"""What a student learns to predict: the token that is there, or its teacher's law of the next token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scaling.spec.schema import Spec


class TokenTargets(Spec):
    """The tokens themselves: one draw of the teacher's law a position, which is unbiased and free."""

    kind: Literal["tokens"] = "tokens"

    @property
    def label(self) -> str:
        return "tokens"


class SoftTargets(Spec):
    """The teacher's law q of the next token beside the token x: ``(1 − weight)·CE(x, f) + weight·τ²·CE(q_τ, f_τ)``.

    ``q_τ`` and ``f_τ`` are the laws of teacher and student at temperature τ, ``softmax(logits/τ)``; the factor τ² keeps
    the size of the gradient.

    **Source:** Hinton et al. 2015, arXiv 1503.02531.
    """

    weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    """λ, share of the law in the objective; the rest is the loss on the tokens."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ; anything but 1 no longer aims at the teacher's own distribution."""

    @property
    def label(self) -> str:
        """Kind, size and what differs from the usual, for tables."""
        size = next((f" {getattr(self, name)}" for name in ("k", "n") if hasattr(self, name)), "")
        share = "" if self.weight == 1 else f" weight {self.weight:g}"
        return f"{self.kind}{size}{share}" + ("" if self.temperature == 1 else f" temperature {self.temperature:g}")


class ExactTargets(SoftTargets):
    """The whole law, which a world's teacher can tell."""

    kind: Literal["exact"]


class TopKTargets(SoftTargets):
    """The k likeliest tokens, their probabilities normalised to sum to 1.

    Biased: the student aims at a law without a tail, over-confident by ``−ln(mass of the k)``.
    """

    kind: Literal["topk"]
    k: Annotated[int, Field(ge=1, le=1024)] = 64


class SampledTargets(SoftTargets):
    """n draws from ``q_τ^exponent`` (normalised), each weighted by ``q_τ(x)/(n·proposal(x))``: unbiased at any n.

    **Source:** Anshumann et al. 2025, arXiv 2503.16870 (random sampling knowledge distillation).
    """

    kind: Literal["sampled"]
    n: Annotated[int, Field(ge=1, le=1024)] = 12
    exponent: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Below 1 rare tokens are drawn more often and weigh less."""


Targets = Annotated[TokenTargets | ExactTargets | TopKTargets | SampledTargets, Field(discriminator="kind")]
