"""A student as a file holds it, in whatever format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.accounting import TokenizerLayout
from scaling.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class StudentFile:
    """What a file of a student says.

    Attributes:
        model: Sizes of the model.
        tokenizer: Its tokens.
        tensors: float32 arrays under their GGUF names, dequantized, as an engine sees them.
        about: Its texts for people and programs, by key.
        file_bytes: Size on disk.
    """

    model: ModelSpec
    tokenizer: TokenizerLayout
    tensors: dict[str, np.ndarray]
    about: Mapping[str, str]
    file_bytes: int
