"""A training that is not written out yet: enough to choose it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaling.accounting import training_flops
from scaling.dimensions import Decoder

if TYPE_CHECKING:
    from scaling.spec import RunSpec

BATCH_TOKENS = 2**19
"""Half a million tokens a step, and AdamW's beta2 of .95 at that."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A training on one's own texts, which are named before it can start.

    Validating a `RunSpec` takes longer to load than choosing among a thousand drafts, so one is written out when it is
    asked for.

    Attributes:
        model: Its shape.
        tokens: D asked for; what is seen is the nearest whole number of steps.
    """

    model: Decoder
    tokens: int

    @property
    def batch_size(self) -> int:
        """Sequences a step."""
        return max(1, BATCH_TOKENS // self.model.context)

    @property
    def step_tokens(self) -> int:
        """Tokens of one step."""
        return self.batch_size * self.model.context

    @property
    def n_tokens(self) -> int:
        """D seen."""
        return max(1, round(self.tokens / self.step_tokens)) * self.step_tokens

    def within(self, flops: float) -> Draft:
        """The same training, on as many tokens as a budget of FLOPs allows."""
        steps = int(flops / training_flops(self.model, self.step_tokens))
        return Draft(model=self.model, tokens=max(steps, 1) * self.step_tokens)

    def written(self) -> RunSpec:
        """The training with everything that decides it."""
        from dataclasses import asdict

        from scaling.spec import RunSpec

        source = {
            "kind": "text",
            "corpus": "texts/*.txt",
            "tokenizer": {"kind": "bpe", "vocab_size": self.model.vocab_size},
        }
        optim = {"batch_size": self.batch_size, "beta2_half_life_tokens": 14 * BATCH_TOKENS}
        return RunSpec.model_validate(
            {"model": asdict(self.model), "data": {"source": source}, "optim": optim, "tokens": self.tokens}
        )
