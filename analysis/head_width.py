"""How fast llama.cpp writes with heads of different width, as many weights or not: python analysis/head_width.py

Random weights in int8, two layers, 1,024 tokens, one thread; the fastest of 120 passes of 64 tokens, in turns, for what
else the machine does only slows them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from engine_memory import int8, layout

from scaling.accounting import count_parameters, tensor_shapes
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.formats.gguf import write_gguf
from scaling.spec import ModelSpec

SHAPES = [(width, n_heads, k) for width in (32, 128) for n_heads, k in ((2, 16), (2, 32), (4, 16), (4, 32), (8, 16))]
ROUNDS, REPEATS = 3, 40


def written(model: ModelSpec, path: Path) -> Path:
    """A file of random weights."""
    rng = np.random.default_rng(0)
    tensors = {name: int8(shape, rng) for name, shape in tensor_shapes(model).items()}
    write_gguf(path, tensors, model=model, tokenizer=layout(model.vocab_size, model.vocab_size // 2))
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for i, (width, n_heads, k) in enumerate(SHAPES):
            model = ModelSpec(vocab_size=1024, width=width, n_heads=n_heads, head_width=k, context=128)
            files[model] = written(model, Path(folder) / f"{i}.gguf")
        fastest = dict.fromkeys(files, 0.0)
        for _ in range(ROUNDS):
            for model, path in files.items():
                run = LlamaCpp().run(path, range(32, 64), n_tokens=8, context=128, repeats=REPEATS, threads=1)
                fastest[model] = max(fastest[model], *(run.tokens_per_s_range or ()))
    for model, rate in fastest.items():
        size = count_parameters(model).n_params_total
        print(
            f"width {model.width:3}, {model.n_heads} heads of {model.head_width}: {size:7,} parameters {rate:7,.0f}/s"
        )


if __name__ == "__main__":
    main()
