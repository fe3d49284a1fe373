"""Memory of an exported student in a phone engine, predicted from its sizes.

``total = file + key–value cache + compute buffers + engine``: the file is mapped and read whole, the cache is
allocated at full length, of the compute buffers only the part that is written becomes resident. The constants are
llama.cpp's on a 64-bit Linux machine, fitted to 36 measured runs (V 65 … 49,152, width 64 … 1,024, 2 … 32 layers,
context 40 … 8,192): residuals are 0.22 MiB (standard deviation) and 0.7 MiB (largest).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from scaling.accounting import Storage, TokenizerLayout, gguf_bytes, kv_cache_bytes
from scaling.data.text import open_tokenizer
from scaling.formats.gguf import symbol_layout
from scaling.records import RunStore
from scaling.spec import DataSpec, ModelSpec

CACHE_STEP = 256
"""llama.cpp rounds the length of its key–value cache up to a multiple of this."""


@dataclass(frozen=True, kw_only=True)
class EngineMemory:
    """What an engine needs beside a model's weights and cache.

    ``compute = n_ubatch · (hidden_floats·F + width_floats·M) · 4`` and
    ``engine = base + per_token·V + per_merge·merges + per_layer·L + per_position·T``, all in bytes.

    Attributes:
        base: Code pages touched, and the engine's own state.
        per_token: Text and look-up entries of one token.
        per_merge: Look-up entry of one BPE merge.
        per_layer: Graph and bookkeeping of one layer.
        per_position: Mask and bookkeeping of one position of the context.
        hidden_floats: Activations alive at once, in rows of F floats for each token read.
        width_floats: The same in rows of M floats.
        n_ubatch: Tokens of a prompt read at once.
    """

    base: int = 10_350_000
    per_token: int = 204
    per_merge: int = 146
    per_layer: int = 94_000
    per_position: int = 95
    hidden_floats: float = 3.4
    width_floats: float = 3.2
    n_ubatch: int = 64


LLAMA_CPP = EngineMemory()


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes of a model while it runs on a phone, the app around it not included.

    Attributes:
        weights_bytes: The file: int8 matrices with their scales, norms, tokenizer and index. Mapped, so a phone may
            evict it.
        kv_cache_bytes: Keys and values of the whole context.
        compute_bytes: Activations while a prompt is read.
        engine_bytes: Code, vocabulary and bookkeeping of the engine.
        cache_tokens: Positions that the cache is allocated for.
    """

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    engine_bytes: int
    cache_tokens: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.engine_bytes


def footprint(
    model: ModelSpec,
    *,
    context: int | None = None,
    tokenizer: TokenizerLayout | None = None,
    storage: Storage = "Q8_0",
    kv_value_bytes: float = 2.0,
    engine: EngineMemory = LLAMA_CPP,
) -> Footprint:
    """Predict the memory of a model in a phone engine.

    Args:
        model: The model.
        context: T, tokens that the cache holds; by default the model's training context.
        tokenizer: Stored in the file; by default one-symbol placeholders without merges (a BPE vocabulary adds about
            36 bytes of file for each token and merge).
        storage: How matrices are stored.
        kv_value_bytes: 2 for an f16 cache, 34/32 for q8_0.
        engine: What the engine needs beside the model.

    Source: measured with xllamacpp 2026.10 (llama.cpp), one sequence, f16 cache, file mapped.
    """
    length = model.context if context is None else context
    tokens = tokenizer or _placeholders(model.vocab_size)
    read_at_once = min(engine.n_ubatch, length)
    cache_tokens = math.ceil(length / CACHE_STEP) * CACHE_STEP
    activations = engine.hidden_floats * model.hidden + engine.width_floats * model.width
    return Footprint(
        weights_bytes=gguf_bytes(model, tokens, storage),
        kv_cache_bytes=kv_cache_bytes(model, cache_tokens, value_bytes=kv_value_bytes),
        compute_bytes=round(4 * read_at_once * activations),
        engine_bytes=engine.base
        + engine.per_token * model.vocab_size
        + engine.per_merge * len(tokens.merges)
        + engine.per_layer * model.n_layers
        + engine.per_position * length,
        cache_tokens=cache_tokens,
    )


def tokenizer_layout(data: DataSpec, store: RunStore) -> TokenizerLayout:
    """What an exported file says about the tokens of a run: its tokenizer, or placeholders for a world's symbols.

    A source token comes last, as a control token: what the file is asked for begins as real text does.
    """
    if data.source.kind != "text":
        return symbol_layout(data.vocab_size, bos_id=data.source.vocab_size - 1)
    layout = open_tokenizer(data.source, store).to_gguf()
    if not data.source_token:
        return layout
    return replace(layout, tokens=(*layout.tokens, "<|written|>"), token_types=(*layout.token_types, 3))


@lru_cache(maxsize=8)
def _placeholders(n_symbols: int) -> TokenizerLayout:
    return symbol_layout(n_symbols)
