"""Damaged data cards, tokenizers, rows, tables and version marks: each is read, or refused in a sentence that names it.

    python tests/attacks/text_mutants.py [--count 1000] [--seed 0]

``--count`` is of each format. Exits with 1 if a single file was neither read nor refused with an error for a person.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from summary import print_summary

from scaling.data.documents import read_files
from scaling.data.shards import Card, open_shards, write_card, write_shard
from scaling.data.tokenizers import load_tokenizer, train_tokenizer
from scaling.errors import ScalingError
from scaling.records import RunStore
from scaling.spec import TokenizerSpec

MEMORY_LIMIT = 2**30
"""Beyond what the interpreter and its libraries have reserved."""
TIME_LIMIT_S = 30
"""Of one file."""


@dataclass(frozen=True)
class Target:
    """A file that is damaged, and how the program reads it."""

    path: Path
    read: Callable[[], object]


def targets(folder: Path) -> dict[str, Target]:
    """One whole file of each format, by name."""
    text, store = folder / "text", RunStore(folder / "results").prepare()
    card = Card(text="real", split="train", source="x", vocab_size=257, tokenizer="t", sequence_tokens=50)
    write_card(text, replace(card, shards=(write_shard(text, 0, np.arange(1000) % 256, card.dtype),)))
    tokenizer, rows, table = folder / "tokenizer.json", folder / "a.jsonl", folder / "a.parquet"
    train_tokenizer(TokenizerSpec(vocab_size=270), ["the cat and the hat and the bat sat on the mat " * 20]).save(
        tokenizer
    )
    rows.write_text("".join(f'{{"text": "document {i}", "number": {i}}}\n' for i in range(20)))
    pq.write_table(pa.table({"text": [f"document {i} " * 5 for i in range(50)]}), table)
    places = np.zeros(1, int)
    return {
        "card": Target(text / "card.json", lambda: open_shards(text).windows(places, places, 10)),
        "tokenizer": Target(tokenizer, lambda: load_tokenizer(tokenizer).encode("the cat")),
        "jsonl": Target(rows, lambda: list(read_files(str(rows)))),
        "parquet": Target(table, lambda: list(read_files(str(table)))),
        "schema": Target(store.root / "schema.json", lambda: RunStore(store.root)),
    }


def mutants(content: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """The content with a byte changed, a stretch cut out or repeated, its end cut off, or a digit replaced."""
    odd = [b"-1", b"1e999", b"9" * 5000, b"null", b'"x"', b"[" * 50_000, b"NaN", b"true"]
    for _ in range(count):
        at, other = sorted(rng.integers(0, len(content), 2))
        yield [
            content[:at] + bytes([rng.integers(256)]) + content[at + 1 :],
            content[:at] + content[other:],
            content[:other] + content[at:],
            content[:at],
            content.replace(str(rng.integers(10)).encode(), odd[rng.integers(len(odd))], 1),
        ][rng.integers(5)]


def attack(count: int, seed: int, *, names: tuple[str, ...] = ()) -> tuple[int, int, float]:
    """Files tried, violations found, and the longest time of one file."""
    rng, tried, violations, slowest = np.random.default_rng(seed), 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, target in targets(Path(folder)).items():
            if names and name not in names:
                continue
            for i, content in enumerate(mutants(target.path.read_bytes(), count, rng)):
                target.path.write_bytes(content)
                signal.alarm(TIME_LIMIT_S)
                began, tried = time.perf_counter(), tried + 1
                try:
                    target.read()
                except ScalingError as error:
                    # A person has to know which file it is.
                    is_named = target.path.name in str(error) or str(target.path.parent) in str(error)
                    violations += not is_named
                    if not is_named:
                        print(f"{name} {i} of seed {seed}: names no file: {error}", file=sys.stderr)
                except BaseException as error:  # whatever it is, it is what this looks for
                    violations += 1
                    print(f"{name} {i} of seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
                signal.alarm(0)
                slowest = max(slowest, time.perf_counter() - began)
    return tried, violations, slowest


def _too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {TIME_LIMIT_S} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (reserved + MEMORY_LIMIT,) * 2)
    signal.signal(signal.SIGALRM, _too_long)
    tried, violations, slowest = attack(asked.count, asked.seed)
    print_summary("text mutants", tried=tried, violations=violations, slowest_s=slowest)
    sys.exit(violations > 0)
