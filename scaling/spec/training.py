"""How a student is trained and measured: optimizer and evaluation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scaling.spec.schema import GrownSpec
from scaling.spec.sources import CorpusSpec, Source, TextSource


class OptimSpec(GrownSpec):
    """AdamW with linear warmup, a constant rate, and a 1−√ cooldown over the last part of each branch.

    Memory is stated in tokens, so that it keeps its meaning when the batch size changes. The defaults are those that
    `analysis/optimizer.py` finds no better ones than.
    """

    later: ClassVar[frozenset[str]] = frozenset({"precision", "qat"})

    lr: Annotated[float, Field(gt=0)] = 6e-3
    """Peak learning rate of the hidden matrices at this width (any width rule is resolved before)."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """B, sequences a step."""
    warmup_tokens: Annotated[int, Field(ge=0)] = 0
    cooldown: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of a run's tokens spent on the cooldown."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2_half_life_tokens: Annotated[int, Field(ge=1)] = 22_000
    """Tokens after which a squared gradient counts half; at least one step's."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay_timescale_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens at peak rate in which an undriven matrix shrinks to 1/e; at least one step's. None: no weight decay."""
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest global gradient norm of a step."""
    z_loss: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward and backward pass; weights, moments, norms' means and the loss are float32 in both."""
    qat: Literal["q4_0"] | None = None
    """Format that the weights are trained for: rounded to it in the forward pass of the cooldown, and at its end.
    None: trained as float."""

    def beta2(self, step_tokens: int) -> float:
        """Decay of the second moment a step: ``2^(−step_tokens/beta2_half_life_tokens)``.

        So β2 at another batch is ``β2^(B_new/B)``.

        **Source:** Marek et al. 2025, arXiv 2507.07101.
        """
        return 2.0 ** (-step_tokens / self.beta2_half_life_tokens)

    def weight_decay(self, step_tokens: int) -> float:
        """AdamW's λ, relative to the rate: ``step_tokens/(lr · weight_decay_timescale_tokens)``, 0 for none.

        The timescale B/(ηλ) belongs to the trunk: its branches share all their steps before the cooldown, so none can
        have another. For one proportional to each D, give every D a trunk of its own.

        **Source:** Wang & Aitchison 2024, arXiv 2405.13698.
        """
        timescale = self.weight_decay_timescale_tokens
        return 0.0 if timescale is None else step_tokens / (self.lr * timescale)


PAIR_BYTES = 80
"""No sentence of a minimal pair is longer, in bytes and so in tokens of any kind (scaling/data/tasks/)."""


class EvalSpec(GrownSpec):
    """What a finished run is measured on."""

    later: ClassVar[frozenset[str]] = frozenset({"ood", "pairs"})

    tokens: Annotated[int, Field(ge=1)] = 160_000
    """Of each held-out set, rounded up to whole sequences; the same set for every run."""
    seed: int = 0
    ood: CorpusSpec | None = None
    """Text of another kind, whose held-out part a student of text is measured on as well, cut as what it reads is.
    No document of it may be in the training part of the source."""
    pairs: Annotated[int, Field(ge=10)] | None = None
    """Minimal pairs that a student of text is asked, of each phenomenon at most so many. None: it is asked none."""

    def check(self, source: Source, context: int) -> None:
        """Raise ValueError, with what to change, where a student of a source cannot be measured so."""
        asked = next((name for name in ("ood", "pairs") if getattr(self, name) is not None), None)
        if asked and not isinstance(source, TextSource):
            raise ValueError(f"evaluation.{asked}: source {source.label} is no text; leave it out, or read text")
        if self.pairs is not None and context < PAIR_BYTES:
            raise ValueError(
                f"evaluation.pairs: a sentence may have {PAIR_BYTES} tokens, got model.context {context}; give the "
                f"student a context of at least {PAIR_BYTES}, or leave the pairs out"
            )
