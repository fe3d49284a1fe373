"""The shape of a student or teacher."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from scaling.dimensions import GGUF_BLOCK, heads_of, hidden_of
from scaling.spec.schema import Spec


class ModelSpec(Spec):
    """A llama-style decoder: RMSNorm, interleaved RoPE, SwiGLU, optional grouped queries, tied embeddings.

    Unset ``n_heads``, ``n_kv_heads`` and ``hidden`` are derived from ``width`` and stored resolved, so that two ways of
    writing the same model have one hash.
    """

    vocab_size: Annotated[int, Field(ge=2)]
    width: Annotated[int, Field(ge=GGUF_BLOCK, multiple_of=GGUF_BLOCK)]
    """M, the residual stream; a multiple of 32."""
    n_layers: Annotated[int, Field(ge=1)] = 2
    head_width: Annotated[int, Field(ge=2, multiple_of=2)] = 16
    """K, even because RoPE rotates pairs. In llama.cpp heads of 16 take twice as long as half as many of 32."""
    n_heads: Annotated[int, Field(ge=1)] = 0
    n_kv_heads: Annotated[int, Field(ge=1)] = 0
    hidden: Annotated[int, Field(ge=GGUF_BLOCK, multiple_of=GGUF_BLOCK)] = 0
    """F, the SwiGLU width; by default 8/3 of the width, rounded up to a multiple of 32."""
    context: Annotated[int, Field(ge=2)] = 128
    """T, tokens of one training sequence."""
    tied_embeddings: bool = True
    rope_base: Annotated[float, Field(gt=1)] = 10_000.0
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        width, head = values.get("width"), values.get("head_width", 16)
        # What is no positive whole number is left for its field to refuse.
        if all(type(value) is int and value > 0 for value in (width, head)):
            if not values.get("n_heads"):
                values["n_heads"] = heads_of(width, head)
            if not values.get("hidden"):
                values["hidden"] = hidden_of(width)
        if not values.get("n_kv_heads") and values.get("n_heads"):
            values["n_kv_heads"] = values["n_heads"]
        return values

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelSpec:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}; choose a divisor"
            )
        if (self.n_heads * self.head_width) % GGUF_BLOCK:
            raise ValueError(
                f"n_heads × head_width = {self.n_heads * self.head_width} is not a multiple of {GGUF_BLOCK}; "
                "change head_width or n_heads"
            )
        return self
