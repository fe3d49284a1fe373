"""Zeros in dense engines: what a file with half or four fifths of its weights at zero saves: python analysis/sparse.py

Writes a student of random weights dense, with 50 % and with 80 % zeros as Q8_0, lets llama.cpp run each, and multiplies
one matrix by a vector in JAX, dense and as a sparse array, on every device that JAX has.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from scaling.accounting import symbol_layout, tensor_shapes
from scaling.compress.student import quantize
from scaling.export.engine import ENGINES
from scaling.formats.gguf import write_gguf
from scaling.spec import ModelSpec

MODEL = ModelSpec(vocab_size=257, width=256, n_layers=6, head_width=64, context=128)
ZEROS = (0.0, 0.5, 0.8)
ROUNDS, TIMES = 6, 3


def weights(zeros: float) -> dict[str, np.ndarray]:
    """Random tensors of the model with so many zeros in each matrix of a block, those of least magnitude."""
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in tensor_shapes(MODEL).items():
        tensor = rng.standard_normal(shape).astype(np.float32) * (0.02 if len(shape) == 2 else 0) + (len(shape) == 1)
        if len(shape) == 2 and name.startswith("blk."):
            tensor[np.abs(tensor) < np.quantile(np.abs(tensor), zeros)] = 0
        tensors[name] = tensor.astype(np.float32)
    return tensors


def in_engine() -> None:
    """Bytes and tokens/s of each file; the files take turns, so that a busy moment is no file's alone."""
    engine, tokenizer = ENGINES["llama_cpp"], symbol_layout(MODEL.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        paths = {zeros: Path(folder) / f"zeros_{zeros:.0%}.gguf" for zeros in ZEROS}
        for zeros, path in paths.items():
            write_gguf(path, quantize(weights(zeros), "q8_0").tensors, model=MODEL, tokenizer=tokenizer)
        speeds: dict[float, list[float]] = {zeros: [] for zeros in ZEROS}
        for _ in range(ROUNDS):
            for zeros, path in paths.items():
                found = engine.run(path, [1, 2, 3, 4], n_tokens=32, context=128, repeats=TIMES)
                if found.tokens_per_s_range is not None:
                    speeds[zeros].append(found.tokens_per_s_range[1])
        for zeros, path in paths.items():
            best, size = sorted(speeds[zeros], reverse=True), path.stat().st_size
            print(f"{found.engine}, {zeros:4.0%} zeros: {size:,} bytes, best tokens/s of each turn", *map(round, best))


def in_jax() -> None:
    """Seconds of a matrix times a vector, dense and sparse, on each device."""
    rng = np.random.default_rng(0)
    for device in jax.devices():
        for width in (512, 2048):
            for zeros in ZEROS:
                matrix = rng.standard_normal((width, width)).astype(np.float32)
                matrix[np.abs(matrix) < np.quantile(np.abs(matrix), zeros)] = 0
                vector = jax.device_put(rng.standard_normal((width, 1)).astype(np.float32), device)
                dense = jax.device_put(matrix, device)
                thin = jax.device_put(sparse.BCSR.fromdense(jnp.asarray(matrix)), device)
                took = {
                    name: _best(jax.jit(lambda m, x: m @ x), one, vector)
                    for name, one in {"dense": dense, "sparse": thin}.items()
                }
                print(
                    f"{device.device_kind}, {width} x {width}, {zeros:4.0%} zeros: dense {1e6 * took['dense']:.0f} µs, "
                    f"sparse {1e6 * took['sparse']:.0f} µs",
                    flush=True,
                )


def _best(product, matrix, vector) -> float:
    product(matrix, vector).block_until_ready()
    seconds = []
    for _ in range(30):
        begun = time.perf_counter()
        product(matrix, vector).block_until_ready()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main(where: str = "both") -> None:
    """``engine``, ``jax`` or both."""
    if where in ("engine", "both"):
        in_engine()
    if where in ("jax", "both"):
        in_jax()


if __name__ == "__main__":
    main(*sys.argv[1:])
