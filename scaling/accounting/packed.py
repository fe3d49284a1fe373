"""What ONNX and LiteRT have in common: room for what a file says of itself, and engines that pack weights anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from scaling.accounting.model import described_bytes, weights_bytes
from scaling.accounting.storage import Storage
from scaling.accounting.stored import ABOUT_BYTES, Architecture, EngineMemory
from scaling.accounting.tokenizer import TokenizerLayout
from scaling.dimensions import Dimensions


def said_bytes(model: Dimensions, tokenizer: TokenizerLayout) -> int:
    """What a file holds for whoever reads it back: sizes and tokens as JSON, and room for texts for people."""
    return described_bytes(model) + len(json.dumps(asdict(tokenizer)).encode()) + ABOUT_BYTES


def longer_numbers(n_layers: int) -> int:
    """Digits that the numbers of layers have beyond one: layers 10 … have one more in their names, 100 … two."""
    return sum(max(0, n_layers - 10**power) for power in range(1, len(str(n_layers))))


@dataclass(frozen=True, kw_only=True)
class PackedMemory(EngineMemory):
    """Of an engine that packs weights for its kernels, and hands on logits of every position that it reads at once.

    Attributes:
        copies: Of the weights, beside the file.
    """

    copies: Mapping[Storage, float]

    def compute_bytes(self, model: Dimensions, context: int) -> int:
        """As elsewhere, and the logits, in the engine and handed on: ``min(n_ubatch, T)·2·V·4``."""
        return super().compute_bytes(model, context) + 4 * min(self.n_ubatch, context) * 2 * model.vocab_size

    @property
    def storages(self) -> Collection[Storage]:
        return self.copies

    def repacked_bytes(self, model: Dimensions, storage: Storage, architecture: Architecture) -> int:
        return round(self.copies[storage] * weights_bytes(model, storage))
