"""The size of a student's ONNX file, and the memory of ONNX Runtime, before there is either.

The graph's bytes were fitted to 7 models (onnx 1.23, residuals up to 140 bytes), the memory to 9 (width 32 … 512, 1 …
12 layers, V 65 … 4,096; onnxruntime 1.32, one thread, 64-bit Linux).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod

from scaling.accounting.model import described_bytes, over_tensors, weights_bytes
from scaling.accounting.storage import Storage
from scaling.accounting.stored import ENGINE_MEMORY, STORED_FORMATS, Architecture, EngineMemory, StoredFormat
from scaling.accounting.tokenizer import TokenizerLayout
from scaling.dimensions import GGUF_BLOCK, Dimensions
from scaling.errors import SpecError

ONNX_STORAGE: dict[str, Storage] = {"onnx": "Q8_0", "onnx_f32": "F32"}
"""How the formats that are ONNX files store matrices."""

ONNX_ABOUT_BYTES = 1024
"""Room for what a file says of itself for people, as in GGUF."""

_GRAPH_BYTES: dict[Storage, tuple[int, int]] = {"Q8_0": (1390, 3227), "F32": (860, 2592)}
"""Nodes, names and lengths of the graph: of the whole, and of one layer."""


def onnx_bytes(model: Dimensions, tokenizer: TokenizerLayout, storage: Storage) -> int:
    """Size of the ONNX file of a model, to about a hundred bytes: how long numbers and names are is not counted.

    Raises:
        SpecError: if the storage does not exist there.
    """
    if storage not in _GRAPH_BYTES:
        raise SpecError(f"an ONNX file cannot hold {storage} — allowed: {', '.join(_GRAPH_BYTES)}")
    whole, layer = _GRAPH_BYTES[storage]
    weights = over_tensors(model, lambda shape: _tensor_bytes(shape, storage))
    rotation = 4 * model.context * model.head_width
    said = described_bytes(model) + len(json.dumps(asdict(tokenizer)).encode()) + ONNX_ABOUT_BYTES
    return whole + layer * model.n_layers + weights + rotation + said


def _tensor_bytes(shape: tuple[int, ...], storage: Storage) -> int:
    """Scales are float32: ``out·in·36/32`` bytes of an int8 matrix."""
    size = prod(shape)
    return 4 * size if len(shape) < 2 or storage == "F32" else size + 4 * size // GGUF_BLOCK


for _name, _storage in ONNX_STORAGE.items():
    STORED_FORMATS.add(_name, StoredFormat(name=_name, storage=_storage, engine="onnx_runtime", bytes_of=onnx_bytes))


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

    def repacked_bytes(self, model: Dimensions, storage: Storage, architecture: Architecture) -> int:
        return round(self.copies[storage] * weights_bytes(model, storage))


ENGINE_MEMORY.add(
    "onnx_runtime",
    PackedMemory(
        code=21_000_000,
        base=1_900_000,
        per_token=0,
        per_merge=0,
        per_layer=220_000,
        per_position=0,
        hidden_floats=3.0,
        width_floats=2.0,
        n_ubatch=1 << 30,  # a prompt is read at once
        cache_step=1,
        copies={"F32": 0.85, "Q8_0": 0.4},
        cache_value_bytes=8.0,  # float32, and a step makes a new cache beside the old one
    ),
)
