"""Models that people know by name (models.toml), and what is written in place of a name: ``gpt-3``, ``1B``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from scaling.errors import SpecError
from scaling.registry import did_you_mean

Objective = Literal["next", "masked"]


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model of the literature.

    Attributes:
        name: Key in models.toml.
        label: For people.
        year: Of its publication.
        objective: "next", the next token; "masked", hidden tokens, whose loss is not comparable.
        n_params: Parameters with embeddings.
        n_params_without_embeddings: Parameters without them; None where nobody published enough to tell.
        n_tokens: Tokens that its training read, epochs included; None where it was not published.
        n_unique_tokens: Tokens of its text without repetition; None likewise.
        shape: Layers, width, heads, hidden size and vocabulary, under the names of a ModelSpec.
        sources: Where each figure comes from.
    """

    name: str
    label: str
    year: int
    objective: Objective
    n_params: float
    n_params_without_embeddings: float | None = None
    n_tokens: float | None = None
    n_unique_tokens: float | None = None
    shape: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def size(self, *, embeddings: bool) -> float:
        """N with or without embeddings.

        Raises:
            SpecError: it is not known without them.
        """
        if embeddings:
            return self.n_params
        if self.n_params_without_embeddings is None:
            raise SpecError(
                f"{self.name}: its parameters without embeddings, which this law counts, are not known — "
                "give the size as a number"
            )
        return self.n_params_without_embeddings


@cache
def models() -> dict[str, NamedModel]:
    """All models, by name."""
    text = resources.files("scaling.predict.named").joinpath("models.toml").read_text("utf-8")
    return {name: _model(name, block) for name, block in tomllib.loads(text).items()}


def named_model(name: str) -> NamedModel:
    """One model by its name.

    >>> named_model("bert-base").n_params
    110000000.0

    Raises:
        SpecError: no model has that name; says which do.
    """
    if name not in models():
        raise SpecError(f"unknown model {name!r}{did_you_mean(name, models())}; a size is written as 1e6, 100M or 2.5B")
    return models()[name]


def _model(name: str, block: Mapping[str, Any]) -> NamedModel:
    return NamedModel(name=name, **{**block, "sources": tuple(block["sources"])})
