"""Forecast of a training step's peak memory beside XLA's own figure: `python tests/benchmarks/bench_memory.py`.

Compiles the step of each shape without running it, and prints bytes, the relative error of each forecast, the median
and worst error, and what a step with attention in C++ takes of it, which keeps no scores.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from scaling.accounting import training_bytes
from scaling.spec import ModelSpec, OptimSpec
from scaling.train.native.parts import PARTS, Part
from scaling.train.step import _program, program

# One thing at a time around a small student, then the shapes of larger ones.
PLAIN = (
    (65, 32, 2, 40, 8), (65, 64, 2, 40, 8), (65, 128, 2, 40, 8), (65, 64, 4, 40, 8), (65, 64, 2, 40, 32),
    (257, 64, 2, 64, 16), (257, 64, 2, 128, 16), (257, 128, 4, 128, 16), (1024, 96, 2, 128, 16),
    (1024, 128, 6, 256, 16), (1024, 256, 4, 256, 8), (4096, 128, 2, 128, 16), (16384, 256, 2, 128, 8),
    (512, 192, 3, 64, 16), (257, 96, 2, 512, 4),
)  # fmt: skip
CHOSEN_ON = [
    *((shape, {}) for shape in PLAIN),
    ((1024, 128, 4, 128, 16), {"n_kv_heads": 2}),
    ((1024, 128, 4, 128, 16), {"tied_embeddings": False, "head_width": 32}),
    ((257, 64, 2, 128, 16), {"hidden": 512}),
]
"""Shapes that the forecast's counts of tensors were rounded from: V, M, L, T, B, and what else differs."""

HELD_OUT = (
    ((65, 96, 3, 40, 16), {}),
    ((2048, 160, 5, 128, 4), {}),
    ((512, 64, 8, 1024, 2), {}),
    ((1024, 192, 2, 200, 12), {"n_kv_heads": 1, "head_width": 32}),
    ((8192, 64, 2, 64, 8), {"tied_embeddings": False}),
)
"""Shapes that it was not adjusted to."""


def xla_bytes(model: ModelSpec, batch_size: int, parts: frozenset[Part]) -> int:
    """What XLA allocates for a step with these in C++: arguments, results that do not replace them, temporaries."""
    os.environ |= {part.switch: "native" if part in parts else "xla" for part in PARTS}
    _program.cache_clear()  # the same specification, but another program
    made = program(model, OptimSpec(batch_size=batch_size))
    tokens = jax.ShapeDtypeStruct((batch_size, model.context), np.int32)
    state, rate = jax.eval_shape(lambda: made.init(0)), jax.ShapeDtypeStruct((), np.float32)
    found = made.step.lower(state, tokens, tokens, rate).compile().memory_analysis()
    kept = found.output_size_in_bytes - found.alias_size_in_bytes
    return found.argument_size_in_bytes + kept + found.temp_size_in_bytes


def main() -> int:
    print(f"{'V':>6} {'M':>4} {'L':>2} {'T':>4} {'B':>3} {'XLA':>12} {'forecast':>12}  error   C++")
    compare("shapes it was rounded from", CHOSEN_ON)
    compare("other shapes", HELD_OUT)
    return 0


def compare(name: str, shapes: Sequence[tuple[tuple[int, ...], dict[str, Any]]]) -> None:
    """Print the error of each forecast, the median and the worst."""
    errors, best = [], frozenset(part for part in PARTS if part.kind() == "native")
    for (vocab_size, width, n_layers, context, batch_size), other in shapes:
        model = ModelSpec(vocab_size=vocab_size, width=width, n_layers=n_layers, context=context, **other)
        found, native = (xla_bytes(model, batch_size, parts) for parts in (frozenset(), best))
        forecast = training_bytes(model, batch_size).total
        errors.append(forecast / found - 1)
        print(
            f"{vocab_size:6d} {width:4d} {n_layers:2d} {context:4d} {batch_size:3d} {found:12,d} {forecast:12,d} "
            f"{errors[-1]:+6.1%}  {native / found:.2f}  {' '.join(f'{key}={value}' for key, value in other.items())}",
            flush=True,
        )
    worst = max(errors, key=abs)
    print(f"{name}: median error {statistics.median(map(abs, errors)):.1%}, worst {worst:+.1%}, {len(errors)} shapes")


if __name__ == "__main__":
    sys.exit(main())
