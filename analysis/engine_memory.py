"""What llama.cpp allocates beside a model's file, measured over sizes, and the constants that follow.

    python analysis/engine_memory.py

Prints one line a run, the fitted constants of ``scaling/accounting/llama_cpp.py``, and the residuals.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from scaling.accounting import ENGINE_MEMORY, TokenizerLayout, kv_cache_bytes, tensor_shapes
from scaling.dimensions import GGUF_BLOCK
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.formats.gguf import write_gguf
from scaling.formats.quantized import QuantizedMatrix
from scaling.spec import ModelSpec

SIZES = [
    dict(zip(("vocab_size", "width", "n_layers", "context", "merges", "hidden"), (*values, 0)[:6], strict=True))
    for values in [
        *itertools.product([65, 4096], [64, 256], [2, 8], [40, 1024], [0.0]),
        *((vocab, 128, 4, 512, share) for vocab in (1024, 16384, 49152) for share in (0.0, 0.5, 0.99)),
        *((257, 256, layers, 256, 0.0) for layers in (1, 16, 32)),
        *((257, width, 4, 256, 0.0) for width in (512, 1024)),
        *((257, 128, 4, context, 0.0) for context in (64, 256, 4096, 8192)),
        *((257, 256, 4, 256, 0.0, hidden) for hidden in (64, 256, 2048)),
        *((257, 64, 4, 256, 0.0, hidden) for hidden in (64, 1024)),
        (49152, 576, 30, 1024, 0.99),
    ]
]


def layout(vocab_size: int, n_merges: int) -> TokenizerLayout:
    """Tokens as long as those of a BPE."""
    tokens = tuple(f"tok{i:05d}" for i in range(vocab_size))
    merges = tuple(f"{token[:4]} {token[4:]}" for token in tokens[: max(1, n_merges)])
    last = vocab_size - 1
    return TokenizerLayout(tokens=tokens, token_types=(1,) * vocab_size, merges=merges, bos_id=last, eos_id=last)


def int8(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray | QuantizedMatrix:
    """Random weights as they are stored."""
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    scales = np.full((shape[0], shape[1] // GGUF_BLOCK), 1e-3, np.float16)
    return QuantizedMatrix(values=rng.integers(-127, 128, shape, np.int8), scales=scales)


def measure(size: dict) -> tuple[ModelSpec, int, int]:
    """A model, its number of merges, and bytes allocated beyond its key–value cache."""
    fields = {key: value for key, value in size.items() if key != "merges"}
    model = ModelSpec(**fields)
    tokenizer = layout(model.vocab_size, int(size["merges"] * model.vocab_size))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        tensors = {name: int8(shape, rng) for name, shape in tensor_shapes(model).items()}
        write_gguf(path, tensors, model=model, tokenizer=tokenizer)
        run = LlamaCpp().run(path, [1, 2, 3], n_tokens=4, context=model.context, repeats=1, threads=1)
    cache = kv_cache_bytes(model, ENGINE_MEMORY["llama_cpp"].cache_length(model.context))
    return model, len(tokenizer.merges), run.allocated_bytes - cache


def main() -> None:
    rows, allocated = [], []
    for size in SIZES:
        model, n_merges, found = measure(size)
        at_once = 4 * min(ENGINE_MEMORY["llama_cpp"].n_ubatch, model.context)
        terms = [1, model.vocab_size, n_merges, model.n_layers, model.context]
        rows.append([*terms, at_once * model.hidden, at_once * model.width])
        allocated.append(found)
        print(size, f"{found:,}", flush=True)
    design, target = np.array(rows, float), np.array(allocated, float)
    scale = design.max(axis=0)
    constants, _ = nnls(design / scale, target)
    constants /= scale
    names = ("base", "per_token", "per_merge", "per_layer", "per_position", "hidden_floats", "width_floats")
    print(dict(zip(names, (float(f"{value:.4g}") for value in constants), strict=True)))
    residual = (target - design @ constants) / 2**20
    print(f"residuals: {residual.std():.2f} MiB (standard deviation), {np.abs(residual).max():.2f} MiB (largest)")


if __name__ == "__main__":
    main()
