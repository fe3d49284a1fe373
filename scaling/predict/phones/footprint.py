"""Memory of an exported student in a phone engine, predicted from its sizes.

``total = file + repacked + key–value cache + compute buffers + engine``: the file is mapped and read whole, matrices
that the processor wants in another layout are copied, the cache is allocated at full length, of the compute buffers
only the part that is written becomes resident. What an engine needs was measured, and is looked up by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from scaling.accounting import (
    DEFAULT_FORMAT,
    ENGINE_MEMORY,
    PHONE,
    STORED_FORMATS,
    Architecture,
    Storage,
    StoredFormat,
    TokenizerLayout,
    kv_cache_bytes,
    symbol_layout,
)
from scaling.dimensions import Dimensions
from scaling.errors import SpecError
from scaling.numbers import shortly
from scaling.shown import Drawn

if TYPE_CHECKING:
    import pandas as pd

    from scaling.records import RunStore
    from scaling.spec import DataSpec


@dataclass(frozen=True, kw_only=True)
class Footprint(Drawn):
    """Bytes of a model while it runs on a phone, the app around it not included.

    Attributes:
        weights_bytes: The file: matrices as its format stores them, norms, tokenizer and index. Mapped, so a phone may
            evict it.
        repacked_bytes: Matrices that the engine copies into the layout of the processor when it loads the file.
        kv_cache_bytes: Keys and values of the whole context.
        compute_bytes: Activations while a prompt is read.
        engine_bytes: Code, vocabulary and bookkeeping of the engine.
    """

    figure: ClassVar[str] = "bytes by part"

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    engine_bytes: int
    repacked_bytes: int = 0

    def frame(self) -> pd.DataFrame:
        """One row a part, the sum last."""
        import pandas as pd

        parts = {name.removesuffix("_bytes"): value for name, value in vars(self).items()}
        return pd.DataFrame({"part": [*parts, "total"], "bytes": [*parts.values(), self.total_bytes]})

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.anonymous_bytes

    @property
    def anonymous_bytes(self) -> int:
        """All but the mapped file: what a phone cannot take back while the app lives."""
        return self.repacked_bytes + self.kv_cache_bytes + self.compute_bytes + self.engine_bytes


def footprint(
    model: Dimensions,
    *,
    context: int | None = None,
    tokenizer: TokenizerLayout | None = None,
    storage: Storage | None = None,
    kv_value_bytes: float | None = None,
    format: str | StoredFormat = DEFAULT_FORMAT,
    engine: str | None = None,
    architecture: Architecture = PHONE,
) -> Footprint:
    """Predict the memory of a model in a phone engine.

    >>> from scaling.spec import ModelSpec
    >>> model = ModelSpec(vocab_size=32000, width=512, n_layers=8)
    >>> footprint(model, context=2048).frame()["part"].tolist()
    ['weights', 'kv_cache', 'compute', 'engine', 'repacked', 'total']

    Args:
        model: The model.
        context: T, tokens that the cache holds; by default the model's training context.
        tokenizer: Stored in the file; by default one-symbol placeholders without merges (a BPE vocabulary adds about
            36 bytes of file for each token and merge).
        storage: How matrices are stored; by default as the format says.
        kv_value_bytes: 2 for an f16 cache, 34/32 for q8_0; by default what the engine takes.
        format: The file's format, or its name.
        engine: Name of the engine that runs it; by default the one that the format is made for.
        architecture: Of the processor: on ARM more is copied into another layout than elsewhere.

    Raises:
        SpecError: for a format or an engine of which nothing is known.
    """
    if not hasattr(model, "n_kv_heads"):
        raise SpecError(
            f"model: got {shortly(model)}, allowed are the sizes of a network, as ModelSpec(vocab_size=32000, "
            "width=512, n_layers=8) — of a number of parameters alone: `scaling footprint --params 1B --device …`"
        )
    # How the file is laid out, and what the engine takes beside it, are looked up by name.
    stored = STORED_FORMATS[format] if isinstance(format, str) else format
    memory = ENGINE_MEMORY[engine or stored.engine]
    length = model.context if context is None else context
    tokens, kept = tokenizer or _placeholders(model.vocab_size), storage or stored.storage
    if kept not in memory.storages:
        raise SpecError(
            f"{engine or stored.engine} runs no file whose matrices are {kept} — allowed are "
            f"{', '.join(memory.storages)}; ask for one of these, or another engine"
        )
    value_bytes = memory.cache_value_bytes if kv_value_bytes is None else kv_value_bytes
    return Footprint(
        weights_bytes=stored.bytes_of(model, tokens, kept),
        repacked_bytes=memory.repacked_bytes(model, kept, architecture),
        kv_cache_bytes=kv_cache_bytes(model, memory.cache_length(length), value_bytes=value_bytes),
        compute_bytes=memory.compute_bytes(model, length),
        engine_bytes=memory.engine_bytes(model, tokens, length),
    )


def tokenizer_layout(data: DataSpec, store: RunStore) -> TokenizerLayout:
    """What an exported file says about the tokens of a run: its tokenizer, or placeholders for a world's symbols.

    A source token comes last, as a control token: what the file is asked for begins as real text does.
    """
    from scaling.spec import TextSource

    if not isinstance(data.source, TextSource):
        return symbol_layout(data.vocab_size, bos_id=data.source.vocab_size - 1)
    from scaling.data.text import open_tokenizer

    layout = open_tokenizer(data.source, store).to_gguf()
    if not data.source_token:
        return layout
    return replace(layout, tokens=(*layout.tokens, "<|written|>"), token_types=(*layout.token_types, 3))


@lru_cache(maxsize=8)
def _placeholders(n_symbols: int) -> TokenizerLayout:
    return symbol_layout(n_symbols)
