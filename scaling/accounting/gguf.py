"""The exact size of a student's GGUF file, before there is one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from scaling.accounting.model import Storage, tensor_bytes, tensor_shapes
from scaling.errors import SpecError
from scaling.spec import ModelSpec

GGUF_FILE_TYPE = {"F32": 0, "F16": 1, "Q8_0": 7}
GGUF_ARRAYS = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges")
GGUF_ALIGNMENT = 32
GGUF_NAME = 10 * "0"
"""Stands for a run_id, which names an exported student and is as long: a file's bytes are known before its run is."""


@dataclass(frozen=True, kw_only=True)
class TokenizerLayout:
    """What a GGUF file stores about a tokenizer, in llama.cpp's ``gpt2`` (byte-level BPE) convention.

    Attributes:
        tokens: Text of each token, in GPT-2's printable spelling of bytes; as many as the model's vocabulary.
        token_types: 1 for a normal token, 3 for a control token (never printed); one a token.
        merges: BPE merges ``"a b"``, most frequent first. llama.cpp refuses an empty list.
        bos_id: Token that a sequence begins with.
        eos_id: Token that ends a document.
        pre: Name of the pre-tokenizer's expression, one that llama.cpp knows.
    """

    tokens: tuple[str, ...]
    token_types: tuple[int, ...]
    merges: tuple[str, ...]
    bos_id: int
    eos_id: int
    pre: str = "gpt-2"

    def __post_init__(self) -> None:
        n = len(self.tokens)
        if len(self.token_types) != n or not self.merges:
            raise SpecError(
                f"a tokenizer layout needs one type for each of its {n} tokens and at least one merge — got "
                f"{len(self.token_types)} types and {len(self.merges)} merges"
            )
        if not (0 <= self.bos_id < n and 0 <= self.eos_id < n):
            raise SpecError(f"bos_id={self.bos_id} and eos_id={self.eos_id} must be ids of the {n} tokens")

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of the token, type and merge arrays in a GGUF file."""
        return _strings_bytes(self.tokens) + 4 * len(self.token_types) + _strings_bytes(self.merges)


def gguf_metadata(
    model: ModelSpec, tokenizer: TokenizerLayout, storage: Storage, *, name: str
) -> dict[str, str | int | float | bool]:
    """Scalar keys of a GGUF file, in file order; the arrays of the tokenizer follow them.

    ``attention.key_length`` is always written: llama.cpp would otherwise assume ``width / n_heads``.

    Raises:
        SpecError: if the storage does not exist in GGUF.
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
        "general.name": name,
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


def gguf_bytes(model: ModelSpec, tokenizer: TokenizerLayout, storage: Storage, *, name: str = GGUF_NAME) -> int:
    """Exact size of the GGUF file of a model: header, metadata, tensor index, and tensors padded to 32 bytes.

    Args:
        model: The model.
        tokenizer: What the file says about its tokens.
        storage: How its matrices are stored.
        name: Stored as ``general.name``; its length counts.
    """
    metadata = gguf_metadata(model, tokenizer, storage, name=name)
    scalars = sum(_text_bytes(key) + 4 + _scalar_bytes(value) for key, value in metadata.items())
    arrays = sum(_text_bytes(key) + 4 + 4 + 8 for key in GGUF_ARRAYS) + tokenizer.n_bytes
    shapes = tensor_shapes(model)
    index = sum(_text_bytes(tensor) + 4 + 8 * len(shape) + 4 + 8 for tensor, shape in shapes.items())
    header = 4 + 4 + 8 + 8
    return _padded(header + scalars + arrays + index) + sum(
        _padded(tensor_bytes(shape, storage)) for shape in shapes.values()
    )


def _scalar_bytes(value: str | int | float | bool) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    return 1 if isinstance(value, bool) else 4


def _text_bytes(text: str) -> int:
    """A GGUF string: its length as uint64, then UTF-8."""
    return 8 + len(text.encode())


def _strings_bytes(texts: Iterable[str]) -> int:
    return sum(_text_bytes(text) for text in texts)


def _padded(size: int) -> int:
    return -(-size // GGUF_ALIGNMENT) * GGUF_ALIGNMENT
