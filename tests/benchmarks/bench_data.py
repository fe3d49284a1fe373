"""Streams and teachers' text: speed and memory, each figure beside what was asked.

Run with `python tests/benchmarks/bench_data.py`. The 10 GB text is a sparse file in a temporary folder: it takes no
disk.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from scaling.data.sequences import TextSequences  # noqa: E402
from scaling.data.shards import Card, Shard, TokenShards  # noqa: E402
from scaling.data.worlds import open_language  # noqa: E402
from scaling.spec import (  # noqa: E402
    CoverageTeacher,
    HierarchySource,
    MarkovSource,
    ModelSpec,
    NoiseTeacher,
    RealTeacher,
    StaleTeacher,
    WorldSource,
)

Rows = Iterator[tuple[str, str, str]]
SHARDS, SHARD_TOKENS = 160, 31_250_000
"""5·10⁹ tokens of two bytes: 10 GB."""


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def worlds() -> Rows:
    """Tokens a second that a world's stream can feed, one thread."""
    noise = NoiseTeacher(kind="noise", rate=0.2)
    cases = [
        (WorldSource(kind="w0"), RealTeacher()),
        (WorldSource(kind="w0"), noise),
        (WorldSource(kind="w0"), StaleTeacher(kind="stale", n_records=100_000)),
        (MarkovSource(kind="w1"), RealTeacher()),
        (MarkovSource(kind="w1"), CoverageTeacher(kind="coverage", top_keys=1000)),
        (HierarchySource(kind="w2"), RealTeacher()),
    ]
    for source, teacher in cases:
        language = open_language(source, teacher)
        language.sequences(0, 0, 256)
        rate = 256 * 20 * language.context / seconds(lambda speaker=language: speaker.sequences(0, 0, 256 * 20))
        yield f"{source.label} {teacher.label}: tokens/s", f"{rate / 1e6:.2f} M", "> 0.1 M"


def streaming() -> Rows:
    """A 10 GB text in shuffled windows, measured in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "stream"], capture_output=True, text=True, check=True)
    rate, memory = map(float, done.stdout.split())
    yield "10 GB of shards, shuffled windows of 128: tokens/s", f"{rate / 1e6:.2f} M", "> 0.1 M"
    yield "10 GB of shards: peak memory", f"{memory:.0f} MB", "< 500 MB"


def stream_sparse_text() -> None:
    """Print tokens a second and peak megabytes of reading 200,000 windows."""
    card = Card(text="real", split="train", source="sparse", vocab_size=1024, tokenizer="none")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = tuple(Shard(f"shard-{i:05d}.bin", SHARD_TOKENS, "") for i in range(SHARDS))
        for shard in shards:
            with (folder / shard.file).open("wb") as file:
                file.truncate(2 * SHARD_TOKENS)
        text = TextSequences(TokenShards(folder, replace(card, shards=shards)), 128, seed=0)
        took = seconds(lambda: [text.read(i * 5000, 1000) for i in range(200)])
    print(200 * 1000 * 128 / took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def generation() -> Rows:
    """Tokens a second of a teacher of 2 million parameters, compilation left out."""
    import jax

    from scaling.teach.authors import rows_per_block
    from scaling.train.decode import sample_sequences
    from scaling.train.model import Student

    model = ModelSpec(vocab_size=1024, width=192, n_layers=4, head_width=32, context=128)
    student, rows = Student(model), rows_per_block(model)

    def block(seed: int) -> None:
        sample_sequences(student, jax.random.key(seed), n_sequences=rows, length=128, bos=1023).block_until_ready()

    block(0)
    rate = 3 * rows * 128 / seconds(lambda: [block(seed) for seed in (1, 2, 3)])
    yield "teacher of 2.0M parameters writes: tokens/s", f"{rate:,.0f}", "2M tokens in a few minutes"


def main() -> None:
    """Print one row a figure."""
    print(f"{'figure':<50} | {'asked':<28} | measured")
    for part in (worlds, streaming, generation):
        for name, measured, asked in part():
            print(f"{name:<50} | {asked:<28} | {measured}", flush=True)


if __name__ == "__main__":
    stream_sparse_text() if sys.argv[1:] == ["stream"] else main()
