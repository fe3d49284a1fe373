"""What the keys of a GGUF file mean: a model and a tokenizer.

A key that is absent means to us what it means to llama.cpp, or the file is refused; so is a key that would make the
engine compute something else than a student does. What absence and presence do was seen in the engine itself
(xllamacpp 2026.10): without ``tokenizer.ggml.pre`` it cuts text by an expression of its own, and the factors of RoPE
scaling work without ``rope.scaling.type``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from scaling.accounting import GGUF_ARRAYS, TokenizerLayout
from scaling.errors import ExportError, SpecError
from scaling.spec import ModelSpec

T = TypeVar("T")

TOKENS, TYPES, MERGES = GGUF_ARRAYS

MATRICES_A_LAYER = 9

ROPE_BASE = 10_000.0
"""llama.cpp's, where a file says none."""

MODEL_KEYS = {
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.layer_norm_rms_epsilon",
    "attention.value_length", "block_count", "context_length", "embedding_length", "feed_forward_length",
    "rope.dimension_count", "rope.freq_base", "vocab_size",
}  # fmt: skip

NEUTRAL = {
    "attention.causal": True, "expert_count": 0, "expert_used_count": 0, "rope.scale_linear": 1.0,
    "rope.scaling.attn_factor": 1.0, "rope.scaling.factor": 1.0, "rope.scaling.type": "none",
}  # fmt: skip
"""Other keys of the architecture, with the one value that changes nothing."""


def read_model(path: Path, keys: Mapping[str, Any], *, n_tensors: int, tied: bool) -> ModelSpec:
    """Sizes of the model of a file.

    Args:
        path: Named in messages.
        keys: Of the file.
        n_tensors: That it holds: with more layers than these can make a model is not even looked at.
        tied: It has no output matrix of its own.

    Raises:
        ExportError: if it is of another architecture, incomplete, or no student could be so.
    """
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str) or architecture != "llama":
        raise ExportError(f"{path}: architecture {str(architecture)[:40]!r} — only 'llama' can be read")
    said = _Keys(path, keys)
    said.refuse_other_models()
    heads, width = said.whole("llama.attention.head_count"), said.whole("llama.embedding_length")
    # llama.cpp's defaults: a head is a part of the width, whatever the other lengths say; RoPE turns all of a key.
    share = width // heads
    head_width = said.whole("llama.attention.key_length", share)
    value_width = said.whole("llama.attention.value_length", share)
    turned = said.whole("llama.rope.dimension_count", head_width)
    if {value_width, turned} != {head_width}:
        raise ExportError(
            f"{path}: heads of {head_width} with values of {value_width} and rotation of {turned} — they must be equal"
        )
    n_layers, n_tokens = said.whole("llama.block_count"), len(said.list_of(str, TOKENS))
    if MATRICES_A_LAYER * n_layers > n_tensors:
        raise ExportError(f"{path}: {n_layers} layers and {n_tensors} tensors do not fit; the file is incomplete")
    vocab_size = said.whole("llama.vocab_size", n_tokens)
    if vocab_size != n_tokens:
        raise ExportError(f"{path}: a vocabulary of {vocab_size} and {n_tokens} tokens — they must agree")
    try:
        return ModelSpec(
            vocab_size=n_tokens,
            width=width,
            n_layers=n_layers,
            head_width=head_width,
            n_heads=heads,
            n_kv_heads=said.whole("llama.attention.head_count_kv", heads),
            hidden=said.whole("llama.feed_forward_length"),
            context=said.whole("llama.context_length"),
            tied_embeddings=tied,
            rope_base=said.number("llama.rope.freq_base", ROPE_BASE),
            norm_eps=said.number("llama.attention.layer_norm_rms_epsilon"),
        )
    except ValidationError as error:
        raise ExportError(f"{path}: sizes that no student can have — {error.errors()[0]['msg']}") from error


def read_tokenizer(path: Path, keys: Mapping[str, Any]) -> TokenizerLayout:
    """The tokenizer of a file.

    Raises:
        ExportError: if it is no byte-level BPE, or does not say how it cuts text, begins and ends.
    """
    spelling = keys.get("tokenizer.ggml.model")
    if not isinstance(spelling, str) or spelling != "gpt2":
        raise ExportError(f"{path}: tokenizer {str(spelling)[:40]!r} — only byte-level BPE ('gpt2') can be read")
    said = _Keys(path, keys)
    # No default: engines do not share one, and text that is cut otherwise is another text to the student.
    pre = keys.get("tokenizer.ggml.pre")
    if not isinstance(pre, str):
        found = "missing" if pre is None else repr(str(pre)[:40])
        raise ExportError(
            f"{path}: tokenizer.ggml.pre is {found}, and without it every engine cuts text its own way; "
            "write the name of the expression that the model was trained with into the file"
        )
    try:
        return TokenizerLayout(
            tokens=tuple(said.list_of(str, TOKENS)),
            token_types=tuple(said.list_of(int, TYPES)),
            merges=tuple(said.list_of(str, MERGES)),
            bos_id=said.whole("tokenizer.ggml.bos_token_id", least=0),
            eos_id=said.whole("tokenizer.ggml.eos_token_id", least=0),
            pre=pre,
        )
    except SpecError as error:
        raise ExportError(f"{path}: {error}") from error


class _Keys:
    """Values by key, each of the type that is asked for."""

    def __init__(self, path: Path, values: Mapping[str, Any]):
        self.path, self.values = path, values

    def whole(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        value = self._get(key, default)
        if type(value) is not int or value < least:
            raise self._wrong(key, value, f"a whole number from {least}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """The decimal that a person wrote: 1e-05 rather than its float32 neighbour 9.99999974e-06."""
        value = self._get(key, default)
        if type(value) is not float or not math.isfinite(value):
            raise self._wrong(key, value, "a finite number")
        return float(str(np.float32(value)))

    def list_of(self, kind: type[T], key: str) -> list[T]:
        values = self._get(key, None)
        values = values.tolist() if isinstance(values, np.ndarray) else values
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            raise self._wrong(key, values, f"a list of {kind.__name__}")
        return values

    def refuse_other_models(self) -> None:
        """Refuse keys of the architecture that may make an engine compute what no student does."""
        for key, value in self.values.items():
            name = key.removeprefix("llama.")
            # An array is never neutral, and compares element by element.
            is_neutral = not isinstance(value, np.ndarray) and NEUTRAL.get(name) == value
            if name != key and name not in MODEL_KEYS and not is_neutral:
                raise ExportError(
                    f"{self.path}: {key} is {str(value)[:40]}, which an engine may heed and a student cannot do; "
                    "only models without it can be read"
                )

    def _get(self, key: str, default: Any) -> Any:
        if key not in self.values and default is None:
            raise ExportError(f"{self.path}: key {key} is missing; the file is incomplete")
        return self.values.get(key, default)

    def _wrong(self, key: str, value: Any, wanted: str) -> ExportError:
        absent = "" if key in self.values else ", as the file does not say it"
        return ExportError(f"{self.path}: {key} is {str(value)[:40]!r}{absent} — {wanted} is needed")
