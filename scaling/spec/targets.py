"""What a student learns to predict: the token that is there, or its teacher's distribution of the next token."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scaling.registry import Registry
from scaling.spec.schema import KindSpec


class Targets(KindSpec):
    """What is learned at each position."""

    kinds: ClassVar[Registry[type[KindSpec]]] = Registry("kind of targets", group="scaling.targets")

    @property
    def label(self) -> str:
        """For people."""
        return self.kind


@Targets.add_kind
class TokenTargets(Targets):
    """The tokens themselves: one draw of the teacher's distribution a position, which is unbiased and free."""

    kind: Literal["tokens"] = "tokens"


class SoftTargets(Targets):
    """The teacher's distribution q of the next token beside the token x:
    ``(1 − weight)·CE(x, f) + weight·τ²·CE(q_τ, f_τ)``.

    ``q_τ`` and ``f_τ`` are the distributions of teacher and student at temperature τ, ``softmax(logits/τ)``; the factor
    τ² keeps the size of the gradient.

    **Source:** Hinton et al. 2015, arXiv 1503.02531.
    """

    is_biased: ClassVar[bool] = False
    """True where the average of what is kept is not the distribution."""

    weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    """λ, share of the distribution in the objective; the rest is the loss on the tokens."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ; anything but 1 no longer aims at the teacher's own distribution."""

    @property
    def size(self) -> int | None:
        """Tokens of the vocabulary that are kept at each position; None for all."""
        return None

    @property
    def label(self) -> str:
        """Kind, size and what differs from the usual."""
        size = "" if self.size is None else f" {self.size}"
        share = "" if self.weight == 1 else f" weight {self.weight:g}"
        return f"{self.kind}{size}{share}" + ("" if self.temperature == 1 else f" temperature {self.temperature:g}")


@Targets.add_kind
class ExactTargets(SoftTargets):
    """The whole distribution, which a world's teacher can tell."""

    kind: Literal["exact"]


@Targets.add_kind
class TopKTargets(SoftTargets):
    """The k likeliest tokens, their probabilities normalised to sum to 1.

    Biased: the student aims at a distribution without a tail, over-confident by ``−ln(mass of the k)``.
    """

    is_biased: ClassVar[bool] = True

    kind: Literal["topk"]
    k: Annotated[int, Field(ge=1, le=1024)] = 64

    @property
    def size(self) -> int:
        return self.k


@Targets.add_kind
class SampledTargets(SoftTargets):
    """n draws from ``q_τ^exponent`` (normalised), each weighted by ``q_τ(x)/(n·proposal(x))``: unbiased at any n.

    **Source:** Anshumann et al. 2025, arXiv 2503.16870 (random sampling knowledge distillation).
    """

    kind: Literal["sampled"]
    n: Annotated[int, Field(ge=1, le=1024)] = 12
    exponent: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Below 1 rare tokens are drawn more often and weigh less."""

    @property
    def size(self) -> int:
        return self.n
