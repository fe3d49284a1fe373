"""The size of a student's .tflite file, and the memory of LiteRT's interpreter, before there is either.

The memory was fitted to 7 models (width 32 … 256, 1 … 12 layers, V 65 … 1,024; litert-converter 0.5, ai-edge-quantizer
0.10, ai-edge-litert 2.3, one thread, 64-bit Linux).
"""

from __future__ import annotations

from math import prod

from scaling.accounting.model import over_tensors
from scaling.accounting.packed import PackedMemory, longer_numbers, said_bytes
from scaling.accounting.storage import Storage
from scaling.accounting.stored import ENGINE_MEMORY, STORED_FORMATS, StoredFormat
from scaling.accounting.tokenizer import TokenizerLayout
from scaling.dimensions import Dimensions
from scaling.errors import SpecError

LITERT_STORAGE: dict[str, Storage] = {"litert": "symmetric_channel", "litert_f32": "F32"}
"""How the formats that are .tflite files store matrices."""

_WHOLE, _LAYER, _NUMBERS = 10_000, 9_200, 320
"""Operations, names and index at most: of the whole, of one layer, and for each digit of its number beyond one. Eight
models (1 … 24 layers, context 16 … 2,048) took 1,600 to 6,100 bytes less, in both formats."""


def litert_bytes(model: Dimensions, tokenizer: TokenizerLayout, storage: Storage) -> int:
    """Exact size of the .tflite file of a model: what its program takes at most, which the writer fills with blanks.

    Raises:
        SpecError: if the storage does not exist there.
    """
    if storage not in LITERT_STORAGE.values():
        raise SpecError(f"a .tflite file cannot hold {storage} — allowed: {', '.join(LITERT_STORAGE.values())}")
    # Positions are counted in a constant of four bytes each.
    program = _WHOLE + _LAYER * model.n_layers + _NUMBERS * longer_numbers(model.n_layers) + 4 * model.context
    weights = over_tensors(model, lambda shape: _tensor_bytes(shape, storage))
    looked_up = 0 if storage == "F32" else _looked_up_bytes(model)
    rotation = 4 * model.context * model.head_width
    return program + weights + looked_up + rotation + said_bytes(model, tokenizer)


def _looked_up_bytes(model: Dimensions) -> int:
    """A tied int8 table is stored for look-ups as well as for the output head; an untied one has no zero points."""
    return model.vocab_size * (model.width + 4) if model.tied_embeddings else -8 * model.vocab_size


def _tensor_bytes(shape: tuple[int, ...], storage: Storage) -> int:
    """A row of an int8 matrix has a scale of 4 and a zero point of 8 bytes."""
    size = prod(shape)
    return 4 * size if len(shape) < 2 or storage == "F32" else size + 12 * shape[0]


for _name, _storage in LITERT_STORAGE.items():
    STORED_FORMATS.add(_name, StoredFormat(name=_name, storage=_storage, engine="litert", bytes_of=litert_bytes))

ENGINE_MEMORY.add(
    "litert",
    PackedMemory(
        code=18_300_000,
        base=250_000,
        per_token=0,
        per_merge=0,
        per_layer=120_000,
        per_position=0,
        hidden_floats=4.0,
        width_floats=4.0,
        n_ubatch=1,  # a prompt is read token by token
        cache_step=1,
        copies={"F32": 0.95, "symmetric_channel": 1.0},
        cache_value_bytes=20.0,  # float32, and the old, the new and the handed-on cache live at once
    ),
)
