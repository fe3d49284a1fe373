"""Tokens/s of one student in every engine that is here, int8 beside float32, and the memory bandwidth that it takes:
python tests/benchmarks/bench_engines.py

The student is untrained: what its weights say is no matter to the time they take. One thread; median of 5, and by the
clock of the processor, which other programs do not stop; the share is of that.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from scaling.accounting import STORED_FORMATS, decode_bytes, symbol_layout, tensor_shapes
from scaling.compress.student import quantize
from scaling.errors import EngineError, ExportError
from scaling.export.engine import engine_for
from scaling.export.format import EXPORT_FORMATS, About
from scaling.spec import ModelSpec

MODEL = ModelSpec(vocab_size=4096, width=512, n_layers=6, head_width=64, context=256)
FORMATS = ("gguf", "gguf_q4_0", "gguf_f32", "onnx", "onnx_f32", "litert", "litert_f32")
ABOUT = About(run_id="0123456789", name="untrained", description="", license="", text="")
COPIED = 1 << 28
"""Bytes that are copied to see what the memory gives: far more than any cache holds."""


def bandwidth() -> float:
    """Bytes/s of reading and writing, best of 5 copies on one thread."""
    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - began)
    return 2 * COPIED / min(seconds)


def main() -> None:
    """One line a format; of one that cannot be made or run here, why."""
    rng = np.random.default_rng(0)
    # Gains differ, as training leaves them.
    tensors = {name: rng.normal(1, 0.3, shape).astype(np.float32) for name, shape in tensor_shapes(MODEL).items()}
    tokenizer, most = symbol_layout(MODEL.vocab_size), bandwidth()
    print(f"width 512, 6 layers, V 4,096; memory {most / 1e9:.1f} GB/s on one thread, load {os.getloadavg()[0]:.1f}")
    for name in FORMATS:
        writer = EXPORT_FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{writer.suffix}"
            try:
                writer.write(path, quantize(tensors, writer.scheme), model=MODEL, tokenizer=tokenizer, about=ABOUT)
                run = engine_for(name).run(path, [1, 2, 3], n_tokens=1, context=MODEL.context, threads=1)
            except (EngineError, ExportError) as error:
                print(f"{name:<11} {str(error).splitlines()[0][:100]}")
                continue
            busy = run.busy_tokens_per_s or max(run.tokens_per_s_range)
            taken = busy * decode_bytes(MODEL, STORED_FORMATS[name].storage, position=MODEL.context // 2)
            share = f"{taken / 1e9:5.1f} GB/s, {taken / most:4.0%} of the memory's"
            print(f"{name:<11} {run.tokens_per_s:7.0f} tokens/s (busy {busy:7.0f})  {share}  {run.engine}")


if __name__ == "__main__":
    main()
