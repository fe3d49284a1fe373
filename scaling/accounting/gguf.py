"""The exact size of a student's GGUF file, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from scaling.accounting.model import over_tensors, tensor_shapes, weights_bytes
from scaling.accounting.storage import Storage, tensor_bytes
from scaling.accounting.stored import ABOUT_BYTES, STORED_FORMATS, StoredFormat
from scaling.accounting.tokenizer import TokenizerLayout, symbol_layout
from scaling.dimensions import GGUF_BLOCK, Decoder, Dimensions
from scaling.errors import SpecError

GGUF_FILE_TYPE = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}
GGUF_ARRAYS = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges")
GGUF_ALIGNMENT = 32
GGUF_BLANK = "scaling.blank"


def gguf_about(about: Mapping[str, str]) -> dict[str, str]:
    """Keys for people, and one of blanks that makes all of them ``ABOUT_BYTES`` long.

    Raises:
        SpecError: they are longer than that.
    """
    left = ABOUT_BYTES - _keys_bytes(about) - _keys_bytes({GGUF_BLANK: ""})
    if left < 0:
        raise SpecError(f"what a GGUF file says of itself takes {-left} bytes more than {ABOUT_BYTES}; shorten it")
    return {**about, GGUF_BLANK: left * " "}


def gguf_metadata(
    model: Dimensions, tokenizer: TokenizerLayout, storage: Storage, *, about: Mapping[str, str] | None = None
) -> dict[str, str | int | float | bool]:
    """Scalar keys of a GGUF file, in file order; the arrays of the tokenizer follow them.

    ``attention.key_length`` is always written: llama.cpp would otherwise assume ``width / n_heads``.

    Args:
        model: The model.
        tokenizer: What the file says about its tokens.
        storage: How its matrices are stored.
        about: Keys for people, as ``general.name`` and ``general.license``.

    Raises:
        SpecError: if the storage does not exist in GGUF, or too much is said for people.
    """
    if storage not in GGUF_FILE_TYPE:
        raise SpecError(f"a GGUF file cannot hold {storage} — allowed: {', '.join(GGUF_FILE_TYPE)}")
    sizes = {
        "context_length": model.context, "embedding_length": model.width, "block_count": model.n_layers,
        "feed_forward_length": model.hidden, "vocab_size": model.vocab_size, "rope.dimension_count": model.head_width,
        "attention.head_count": model.n_heads, "attention.head_count_kv": model.n_kv_heads,
        "attention.key_length": model.head_width, "attention.value_length": model.head_width,
        "attention.layer_norm_rms_epsilon": float(model.norm_eps), "rope.freq_base": float(model.rope_base),
    }  # fmt: skip
    return {
        "general.architecture": "llama",
        **gguf_about(about or {}),
        "general.file_type": GGUF_FILE_TYPE[storage],
        "general.quantization_version": 2,
        **{f"llama.{key}": value for key, value in sizes.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": tokenizer.pre,
        "tokenizer.ggml.bos_token_id": tokenizer.bos_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.add_bos_token": True,  # students were trained on sequences that begin with it
        "tokenizer.ggml.add_space_prefix": False,
    }


def gguf_bytes(model: Dimensions, tokenizer: TokenizerLayout, storage: Storage) -> int:
    """Exact size of the GGUF file of a model: header, metadata, tensor index, and tensors padded to 32 bytes.

    Args:
        model: The model.
        tokenizer: What the file says about its tokens.
        storage: How its matrices are stored.
    """
    scalars = _scalars_bytes(tokenizer.pre, storage)
    arrays = sum(_text_bytes(key) + 4 + 4 + 8 for key in GGUF_ARRAYS) + _tokenizer_bytes(tokenizer)
    header = 4 + 4 + 8 + 8
    tensors = over_tensors(model, lambda shape: _padded(tensor_bytes(shape, storage)))
    index = _index_bytes(model.n_layers, model.tied_embeddings)
    return _padded(header + scalars + arrays + index) + tensors


@lru_cache(maxsize=64)
def _scalars_bytes(pre: str, storage: Storage) -> int:
    """The scalar keys: but for the tokenizer's expression they take as many bytes in every file."""
    tokenizer = replace(symbol_layout(2), pre=pre)
    return _keys_bytes(gguf_metadata(_any_model(1, is_tied=True), tokenizer, storage))


@lru_cache(maxsize=1024)
def _index_bytes(n_layers: int, is_tied: bool) -> int:
    """Names, shapes, types and places of all tensors, whatever their sizes."""
    shapes = tensor_shapes(_any_model(n_layers, is_tied=is_tied))
    return sum(_text_bytes(tensor) + 4 + 8 * len(shape) + 4 + 8 for tensor, shape in shapes.items())


def _any_model(n_layers: int, *, is_tied: bool) -> Decoder:
    return Decoder(
        vocab_size=2,
        width=GGUF_BLOCK,
        n_layers=n_layers,
        head_width=GGUF_BLOCK,
        n_heads=1,
        n_kv_heads=1,
        hidden=GGUF_BLOCK,
        context=2,
        tied_embeddings=is_tied,
    )


def model_file_bytes(model: Dimensions, tokenizer: TokenizerLayout, storage: Storage) -> int:
    """Size of the file of a model however its matrices are stored: exact where GGUF can hold them.

    Elsewhere: what the weights take, and tokens and index as GGUF would write them.
    """
    if storage in GGUF_FILE_TYPE:
        return gguf_bytes(model, tokenizer, storage)
    beside = gguf_bytes(model, tokenizer, "F32") - weights_bytes(model, "F32")
    return weights_bytes(model, storage) + beside


GGUF_STORAGE: dict[str, Storage] = {"gguf": "Q8_0", "gguf_q4_0": "Q4_0", "gguf_f16": "F16", "gguf_f32": "F32"}
"""How the formats that are GGUF files store matrices."""

for _name, _storage in GGUF_STORAGE.items():
    STORED_FORMATS.add(_name, StoredFormat(name=_name, storage=_storage, engine="llama_cpp", bytes_of=gguf_bytes))


def _keys_bytes(keys: Mapping[str, str | int | float | bool]) -> int:
    """Of keys with their types and values."""
    return sum(_text_bytes(key) + 4 + _scalar_bytes(value) for key, value in keys.items())


def _scalar_bytes(value: str | int | float | bool) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    return 1 if isinstance(value, bool) else 4


def _text_bytes(text: str) -> int:
    """A GGUF string: its length as uint64, then UTF-8."""
    return 8 + len(text.encode())


def _tokenizer_bytes(tokenizer: TokenizerLayout) -> int:
    """The arrays of tokens, of their types (int32) and of merges."""
    n_texts = len(tokenizer.tokens) + len(tokenizer.merges)
    return 8 * n_texts + tokenizer.text_bytes + 4 * len(tokenizer.token_types)


def _padded(size: int) -> int:
    return -(-size // GGUF_ALIGNMENT) * GGUF_ALIGNMENT
