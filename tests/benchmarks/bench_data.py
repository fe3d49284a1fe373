"""Streams and teachers' text: speed and memory, each figure beside what was asked.

Run with `python tests/benchmarks/bench_data.py`. The 10 GB text is a sparse file in a temporary folder: it takes no
disk.
"""

from __future__ import annotations

import json
import os
import random
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

import numpy as np  # noqa: E402

from scaling.data.batches import Stream  # noqa: E402
from scaling.data.sequences import TextSequences  # noqa: E402
from scaling.data.shards import Card, Shard, TokenShards  # noqa: E402
from scaling.data.text import open_text  # noqa: E402
from scaling.data.worlds import open_generator  # noqa: E402
from scaling.data.worlds.w0_facts import N_ANSWERS, RECORD, Facts  # noqa: E402
from scaling.records import RunStore  # noqa: E402
from scaling.spec import (  # noqa: E402
    CoverageTeacher,
    FactSource,
    HierarchySource,
    MarkovSource,
    ModelSpec,
    NoiseTeacher,
    RealTeacher,
    StaleTeacher,
    Teacher,
    TextSource,
    TokenizerSpec,
)

Rows = Iterator[tuple[str, str, str]]
PARTS = (1, 2, 8)
"""Processes among which a batch is shared."""

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
        (FactSource(kind="w0"), RealTeacher()),
        (FactSource(kind="w0"), noise),
        (FactSource(kind="w0"), StaleTeacher(kind="stale", n_records=100_000)),
        (MarkovSource(kind="w1"), RealTeacher()),
        (MarkovSource(kind="w1"), CoverageTeacher(kind="coverage", top_keys=1000)),
        (HierarchySource(kind="w2"), RealTeacher()),
    ]
    for source, teacher in cases:
        language = open_generator(source, teacher)
        language.sequences(0, 0, 256)
        rate = 256 * 20 * language.context / seconds(lambda speaker=language: speaker.sequences(0, 0, 256 * 20))
        yield f"{source.label} {teacher.label}: tokens/s", f"{rate / 1e6:.2f} M", "> 0.1 M"


def streaming() -> Rows:
    """A 10 GB text in shuffled windows, measured in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "stream"], capture_output=True, text=True, check=True)
    rate, memory, *steps_s = map(float, done.stdout.split())
    yield "10 GB of shards, shuffled windows of 128: tokens/s", f"{rate / 1e6:.2f} M", "> 0.1 M"
    yield "10 GB of shards: peak memory", f"{memory:.0f} MB", "< 500 MB"
    for parts, step_s in zip(PARTS, steps_s, strict=True):
        yield f"a step of 512 windows, read by one of {parts}: µs", f"{1e6 * step_s:.0f}", "the less, the more read"


def stream_sparse_text() -> None:
    """Print tokens a second and peak megabytes of reading 200,000 windows, and seconds a step for shares of a batch."""
    card = Card(text="real", split="train", source="sparse", vocab_size=1024, tokenizer="none")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = tuple(Shard(f"shard-{i:05d}.bin", SHARD_TOKENS, "") for i in range(SHARDS))
        for shard in shards:
            with (folder / shard.file).open("wb") as file:
                file.truncate(2 * SHARD_TOKENS)
        text = TextSequences(TokenShards(folder, replace(card, shards=shards)), 128, seed=0)
        took = seconds(lambda: [text.read(i * 5000, 1000) for i in range(200)])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        shares = [Stream(text, 512).shard(0, parts) for parts in PARTS]
        steps_s = [
            seconds(lambda share=share: [share.batches(step, 1) for step in range(200)]) / 200 for share in shares
        ]
    print(200 * 1000 * 128 / took, memory, *steps_s)


CORPORA = {"bytes": 1 << 30, "bpe": 1 << 26}
"""Size of the corpus that is encoded by each tokenizer, bytes."""


def encoding() -> Rows:
    """Corpora of JSON lines, made ready in a process of its own: scanned, split, sorted, tokenizer trained, encoded."""
    for kind, n_bytes in CORPORA.items():
        command = [sys.executable, __file__, "encode", kind, str(n_bytes)]
        rate, memory = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        name = f"{n_bytes / 1e9:.2f} GB of JSON lines into tokens ({kind})"
        yield f"{name}: MB/s", f"{rate / 1e6:.1f}", "not asked"
        yield f"{name}: peak memory", f"{memory:.0f} MB", "< 500 MB"


def encode_corpus(kind: str, n_bytes: int) -> None:
    """Print bytes a second and peak megabytes of encoding a corpus of documents of about four kilobytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, "write", str(folder / "corpus.jsonl"), str(n_bytes)], check=True)
        tokenizer = TokenizerSpec(kind=kind) if kind == "bytes" else TokenizerSpec(kind=kind, vocab_size=1024)
        source = TextSource(kind="text", corpus=str(folder / "*.jsonl"), tokenizer=tokenizer)
        store = RunStore(folder / "results").prepare()
        took = seconds(lambda: [open_text(source, split, store) for split in ("train", "held_out")])
    print(n_bytes / took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def write_corpus(path: Path, n_bytes: int) -> None:
    """Documents cut out of a million words of random letters, in paragraphs of about five hundred characters."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(50_000)]
    text = " ".join(rng.choices(words, k=1_000_000))
    with path.open("w") as file:
        written = number = 0
        while written < n_bytes:
            start = rng.randrange(len(text) - 5000)
            pieces = [text[start + i * 500 : start + i * 500 + 500] for i in range(rng.randint(4, 10))]
            written += file.write(json.dumps({"text": f"Document {number}.\n\n" + "\n\n".join(pieces)}) + "\n")
            number += 1


def figures() -> Rows:
    """Entropies and divergences of W0: closed form, beside samples of the text."""
    source = FactSource(kind="w0")
    real = open_generator(source)
    text = real.sequences(seed=1, start=0, count=4000)
    at = real.next_token_probs(text)
    surprise = -np.log(np.take_along_axis(at, text[..., None], axis=-1)[..., 0])
    world = Facts()
    key_entropy = -(world.key_probs * np.log(world.key_probs)).sum()
    exact = (key_entropy + N_ANSWERS * world.answer_entropy) / RECORD
    yield "W0 entropy, nats/token", f"{exact:.6f}, sampled {_mean(surprise)}", "1.085365"
    for label, asked in (("coverage 30", 0.2891), ("coverage 100", 0.1586), ("coverage 300", 0.0910)):
        teacher = CoverageTeacher(kind="coverage", top_keys=int(label.split()[1]))
        yield f"W0 KL of {label}, nats/answer", _both(source, teacher, text, at), f"{asked:.4f}"
    for rate, asked in ((0.2, 0.1143), (0.4, 0.3164)):
        teacher = NoiseTeacher(kind="noise", rate=rate)
        yield f"W0 KL of noise {rate}, nats/answer", _both(source, teacher, text, at), f"{asked:.4f}"


def _both(source: FactSource, teacher: Teacher, text: np.ndarray, at: np.ndarray) -> str:
    """The closed form of a divergence, and its mean over a text."""
    q, scored = open_generator(source, teacher), open_generator(source).scored
    held, other = (np.take_along_axis(law, text[..., None], axis=-1)[..., 0] for law in (at, q.next_token_probs(text)))
    return f"{q.divergence().total:.4f}, sampled {_mean(np.log(held / other)[:, scored])}"


def _mean(values: np.ndarray) -> str:
    """Mean over sequences, and its standard error."""
    per_sequence = values.mean(1)
    return f"{per_sequence.mean():.4f} ± {per_sequence.std() / len(per_sequence) ** 0.5:.4f}"


def generation() -> Rows:
    """Tokens a second of a teacher of 2 million parameters, compilation left out."""
    import jax

    from scaling.teach.generators import rows_per_block
    from scaling.train.student.decode import sample_sequences
    from scaling.train.student.model import Student

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
    for part in (figures, worlds, streaming, encoding, generation):
        for name, measured, asked in part():
            print(f"{name:<50} | {asked:<28} | {measured}", flush=True)


def run(command: str, *arguments: str) -> None:
    """One measurement, in the process of its own that it needs."""
    if command == "stream":
        stream_sparse_text()
    elif command == "encode":
        encode_corpus(arguments[0], int(arguments[1]))
    else:
        write_corpus(Path(arguments[0]), int(arguments[1]))


if __name__ == "__main__":
    run(*sys.argv[1:]) if sys.argv[1:] else main()
