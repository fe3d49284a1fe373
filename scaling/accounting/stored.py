"""What can be known of an exported file and of the engine that runs it before there is either: bytes, by name.

The forecast of memory and the exporter look up one and the same entry, so that they cannot disagree. The writer of a
format and the runner of an engine are found under the same names in ``scaling.export``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scaling.accounting.storage import Storage
from scaling.accounting.tokenizer import TokenizerLayout
from scaling.registry import Registry
from scaling.spec import ModelSpec

DEFAULT_FORMAT = "gguf"


@dataclass(frozen=True, kw_only=True)
class StoredFormat:
    """How many bytes a file format takes.

    Attributes:
        name: Of the format, as in a sweep file.
        storage: How it stores matrices.
        engine: Name of the engine that is forecast to run it.
        bytes_of: Exact size of the file of a model, given what the file says of its tokens and how matrices are stored.
    """

    name: str
    storage: Storage
    engine: str
    bytes_of: Callable[[ModelSpec, TokenizerLayout, Storage], int]


@dataclass(frozen=True, kw_only=True)
class EngineMemory:
    """What an engine needs beside a model's file: a cache, activations, and its own state.

    An engine whose needs have another form is a subclass with other methods.

    Attributes:
        code: The engine's own code, bytes. How much of it is resident is the system's choice, whatever the model.
        base: What the engine allocates whatever the model, bytes.
        per_token: Text and look-up entries of one token, bytes.
        per_merge: Look-up entry of one BPE merge, bytes.
        per_layer: Graph and bookkeeping of one layer, bytes.
        per_position: Mask and bookkeeping of one position of the context, bytes.
        hidden_floats: Activations alive at once, in rows of F floats for each token read.
        width_floats: The same in rows of M floats.
        n_ubatch: Tokens of a prompt read at once.
        cache_step: The length of the key–value cache is rounded up to a multiple of this.
    """

    code: int
    base: int
    per_token: int
    per_merge: int
    per_layer: int
    per_position: int
    hidden_floats: float
    width_floats: float
    n_ubatch: int
    cache_step: int

    def cache_length(self, context: int) -> int:
        """Positions of the cache that is allocated for a context."""
        return math.ceil(context / self.cache_step) * self.cache_step

    def compute_bytes(self, model: ModelSpec, context: int) -> int:
        """Activations while a prompt is read: ``min(n_ubatch, T) · (hidden_floats·F + width_floats·M) · 4``."""
        activations = self.hidden_floats * model.hidden + self.width_floats * model.width
        return round(4 * min(self.n_ubatch, context) * activations)

    def engine_bytes(self, model: ModelSpec, tokenizer: TokenizerLayout, context: int) -> int:
        """The engine itself: ``code + base + per_token·V + per_merge·merges + per_layer·L + per_position·T``."""
        return (
            self.code
            + self.base
            + self.per_token * model.vocab_size
            + self.per_merge * len(tokenizer.merges)
            + self.per_layer * model.n_layers
            + self.per_position * context
        )


STORED_FORMATS: Registry[StoredFormat] = Registry(
    "export format", package="scaling.accounting", group="scaling.stored_formats"
)
ENGINE_MEMORY: Registry[EngineMemory] = Registry("engine", package="scaling.accounting", group="scaling.engine_memory")
