"""What can be known of an exported file and of the engine that runs it before there is either: bytes, by name.

The forecast of memory and the exporter look up one and the same entry, so that they cannot disagree. The writer of a
format and the runner of an engine are found under the same names in ``scaling.export``.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from scaling.accounting.model import layer_shapes
from scaling.accounting.storage import LAYOUTS, Storage, tensor_bytes
from scaling.accounting.tokenizer import TokenizerLayout
from scaling.dimensions import Dimensions
from scaling.registry import Registry

DEFAULT_FORMAT = "gguf"

ABOUT_BYTES = 1024
"""What a file says of itself for people takes so many bytes, filled with blanks: a file's size is known before there is
anything to be said of its student."""

Architecture = Literal["arm64", "x86_64"]
"""Of a processor: engines lay weights out anew as its instructions want them."""

PHONE: Architecture = "arm64"


def this_architecture() -> Architecture:
    """Of this machine; of one that no engine was measured on, the one that repacks less."""
    found = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return next((name for name in get_args(Architecture) if name == found), "x86_64")


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
    bytes_of: Callable[[Dimensions, TokenizerLayout, Storage], int]


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
        cache_value_bytes: Of one key or value where nothing else is asked for.
        repacks: By architecture, storages whose matrices are copied into another layout when a file is loaded, each
            with the number that must divide a matrix's rows. The pages of the file stay mapped beside the copy.
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
    cache_value_bytes: float = 2.0
    repacks: Mapping[Architecture, Mapping[Storage, int]] = field(default_factory=dict)

    @property
    def storages(self) -> Collection[Storage]:
        """Ways to store matrices that its files may have."""
        return tuple(LAYOUTS)

    def cache_length(self, context: int) -> int:
        """Positions of the cache that is allocated for a context."""
        return math.ceil(context / self.cache_step) * self.cache_step

    def compute_bytes(self, model: Dimensions, context: int) -> int:
        """Activations while a prompt is read: ``min(n_ubatch, T) · (hidden_floats·F + width_floats·M) · 4``."""
        activations = self.hidden_floats * model.hidden + self.width_floats * model.width
        return round(4 * min(self.n_ubatch, context) * activations)

    def engine_bytes(self, model: Dimensions, tokenizer: TokenizerLayout, context: int) -> int:
        """The engine itself: ``code + base + per_token·V + per_merge·merges + per_layer·L + per_position·T``."""
        return (
            self.code
            + self.base
            + self.per_token * model.vocab_size
            + self.per_merge * len(tokenizer.merges)
            + self.per_layer * model.n_layers
            + self.per_position * context
        )

    def repacked_bytes(self, model: Dimensions, storage: Storage, architecture: Architecture) -> int:
        """Copies of matrices in the layout of the processor: of every matrix that a token is multiplied with.

        A tied table is the output head as well, of which a copy is made; of a separate one rows are only looked up.
        """
        rows = self.repacks.get(architecture, {}).get(storage)
        if rows is None:
            return 0
        head = (model.vocab_size, model.width)
        counted = [(head, 1), *((shape, model.n_layers) for shape in layer_shapes(model).values() if len(shape) == 2)]
        return sum(times * tensor_bytes(shape, storage) for shape, times in counted if shape[0] % rows == 0)


STORED_FORMATS: Registry[StoredFormat] = Registry(
    "export format", package="scaling.accounting", group="scaling.stored_formats"
)
ENGINE_MEMORY: Registry[EngineMemory] = Registry("engine", package="scaling.accounting", group="scaling.engine_memory")
