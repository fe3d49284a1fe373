"""The numbers that a llama-style decoder is made of, and those that follow from its width.

Counting bytes or FLOPs asks for no more, so a search counts thousands of decoders without validating each: what is
chosen becomes a `ModelSpec`, which has the same numbers and may be asked wherever `Dimensions` are.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

GGUF_BLOCK = 32
"""Inner dimensions are multiples of this, so that every matrix can be stored in blocks of 32 (Q8_0)."""


class Dimensions(Hashable, Protocol):
    """What is counted of a decoder; `ModelSpec` says what each number is."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def head_width(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def n_kv_heads(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def tied_embeddings(self) -> bool: ...
    @property
    def rope_base(self) -> float: ...
    @property
    def norm_eps(self) -> float: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoder:
    """A decoder as plain numbers, which nobody checked."""

    vocab_size: int
    width: int
    n_layers: int
    head_width: int
    n_heads: int
    n_kv_heads: int
    hidden: int
    context: int
    tied_embeddings: bool = True
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


def heads_of(width: int, head_width: int) -> int:
    """H where nothing else is said: as many heads as the width holds, at least one."""
    return max(1, width // head_width)


def hidden_of(width: int) -> int:
    """F where nothing else is said: 8/3 of the width, rounded up to a multiple of 32."""
    return -(-8 * width // (3 * GGUF_BLOCK)) * GGUF_BLOCK
