"""The size of a student's ONNX file, and the memory of ONNX Runtime, before there is either.

The memory was fitted to 9 models (width 32 … 512, 1 … 12 layers, V 65 … 4,096; onnxruntime 1.32, one thread, 64-bit
Linux).
"""

from __future__ import annotations

from math import prod

from scaling.accounting.model import over_tensors
from scaling.accounting.packed import PackedMemory, longer_numbers, said_bytes
from scaling.accounting.storage import Storage
from scaling.accounting.stored import ENGINE_MEMORY, STORED_FORMATS, StoredFormat
from scaling.accounting.tokenizer import TokenizerLayout
from scaling.dimensions import GGUF_BLOCK, Dimensions
from scaling.errors import SpecError

ONNX_STORAGE: dict[str, Storage] = {"onnx": "Q8_0", "onnx_f32": "F32"}
"""How the formats that are ONNX files store matrices."""

_GRAPH_BYTES: dict[Storage, tuple[int, int]] = {"Q8_0": (1700, 3400), "F32": (1150, 2800)}
"""Nodes, names and lengths of the graph, at most: of the whole, and of one layer whose number has one digit."""

_NUMBERS = 70
"""Times that the number of a layer stands in its names, at most."""


def onnx_bytes(model: Dimensions, tokenizer: TokenizerLayout, storage: Storage) -> int:
    """Exact size of the ONNX file of a model: what its graph takes at most, which the writer fills with blanks.

    Raises:
        SpecError: if the storage does not exist there.
    """
    if storage not in _GRAPH_BYTES:
        raise SpecError(f"an ONNX file cannot hold {storage} — allowed: {', '.join(_GRAPH_BYTES)}")
    whole, layer = _GRAPH_BYTES[storage]
    graph = whole + layer * model.n_layers + _NUMBERS * longer_numbers(model.n_layers)
    weights = over_tensors(model, lambda shape: _tensor_bytes(shape, storage))
    rotation = 4 * model.context * model.head_width
    return graph + weights + rotation + said_bytes(model, tokenizer)


def _tensor_bytes(shape: tuple[int, ...], storage: Storage) -> int:
    """Scales are float32: ``out·in·36/32`` bytes of an int8 matrix."""
    size = prod(shape)
    return 4 * size if len(shape) < 2 or storage == "F32" else size + 4 * size // GGUF_BLOCK


for _name, _storage in ONNX_STORAGE.items():
    STORED_FORMATS.add(_name, StoredFormat(name=_name, storage=_storage, engine="onnx_runtime", bytes_of=onnx_bytes))


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
