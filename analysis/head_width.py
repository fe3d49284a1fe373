"""What narrow heads cost in llama.cpp, and what they are worth in loss: python analysis/head_width.py [RESULTS]

Speed: random weights in int8, two layers, 1,024 tokens, one thread; the fastest of 120 passes of 64 tokens, in turns,
for what else the machine does only slows them. Loss: students of `sweeps/head_width.yaml`, as many weights in heads of
16 and of 32, paired by seed; ± is the standard error over seeds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from engine_memory import int8, layout
from published import published_runs

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


def main(results: str = "results") -> None:
    runs = published_runs("head_width", results, settings=("head_width",))
    wide = runs.pivot(index=["n_tokens", "seed"], columns="head_width", values="loss")
    for tokens, losses in wide.groupby("n_tokens"):
        apart = losses[32] - losses[16]
        print(
            f"{tokens:,} tokens: heads of 16 {losses[16].mean():.4f}, of 32 {losses[32].mean():.4f}, "
            f"apart {apart.mean():+.4f} ± {apart.sem():.4f}"
        )
    time_shapes()


def time_shapes() -> None:
    """Tokens a second by shape."""
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
    main(*sys.argv[1:])
