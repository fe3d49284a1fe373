"""Damaged and hostile GGUF files: each is refused in a sentence or read, within a GiB and in bounded time.

    python tests/attacks/gguf_mutants.py [--count 4000] [--seed 0] [--no-bombs]

Exits with 1 if a single file was neither refused with an ExportError nor read. A file that never ends is stopped by the
alarm and counts as a violation; one that eats memory runs into the limit and counts as well.
"""

from __future__ import annotations

import argparse
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from scaling.accounting import TokenizerLayout, symbol_layout, tensor_shapes
from scaling.errors import ExportError
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.formats.quantized import quantize_q8_0
from scaling.spec import ModelSpec

MEMORY_LIMIT = 2**30
"""Beyond what the interpreter and its libraries have reserved."""

TIME_LIMIT_S = 30
"""Of one file; the largest header takes a few seconds."""

EXTREMES = [0, 1, 2, 31, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


def originals(folder: Path) -> list[bytes]:
    """Small files of several kinds: int8 and float, tied and not, symbols and text."""
    rng = np.random.default_rng(0)
    text = TokenizerLayout(
        tokens=tuple(f"Ġ{i}é" for i in range(96)),
        token_types=(1,) * 95 + (3,),
        merges=tuple(f"Ġ{i} é" for i in range(40)),
        bos_id=95,
        eos_id=95,
    )
    files = []
    for int8, tied, tokenizer in ((True, True, symbol_layout(65)), (False, False, text)):
        model = ModelSpec(
            vocab_size=len(tokenizer.tokens), width=32, n_layers=1, hidden=32, context=40, tied_embeddings=tied
        )
        tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in tensor_shapes(model).items()}
        if int8:
            tensors = {name: quantize_q8_0(w) if w.ndim == 2 else w for name, w in tensors.items()}
        write_gguf(folder / "original.gguf", tensors, model=model, tokenizer=tokenizer)
        files.append((folder / "original.gguf").read_bytes())
    return files


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes, most of them in the header, where they do the most harm."""
    mutant = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        header = mutant.find(b"token_embd.weight") + 2048
        at = int(rng.integers(0, min(len(mutant), header if rng.random() < 0.9 else len(mutant)) - 8))
        match rng.integers(0, 8):
            case 0:
                mutant[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                mutant[at] = int(rng.integers(0, 256))
            case 2:
                mutant[at : at + 4] = struct.pack("<I", EXTREMES[rng.integers(0, 8)])
            case 3:
                mutant[at : at + 8] = struct.pack("<Q", EXTREMES[rng.integers(0, len(EXTREMES))])
            case 4:  # the length or type that follows the name of a key
                mutant = _change_after_name(mutant, rng)
            case 5:
                del mutant[at : at + int(rng.integers(1, 64))]
            case 6:
                mutant[at:at] = mutant[at : at + int(rng.integers(1, 64))]
            case _:
                del mutant[int(rng.integers(8, len(mutant))) :]
        if len(mutant) < 64:
            break
    return bytes(mutant)


def _change_after_name(mutant: bytearray, rng: np.random.Generator) -> bytearray:
    names = [b".tokens", b".token_type", b".merges", b"block_count", b"head_count", b"length", b".weight", b"epsilon"]
    name = names[rng.integers(0, len(names))]
    places = [i for i in range(len(mutant) - 24) if mutant.startswith(name, i)][:64]
    if places:
        at = places[rng.integers(0, len(places))] + len(name) + 4 * int(rng.integers(0, 4))
        value = int(rng.integers(0, 16)) if rng.random() < 0.6 else EXTREMES[rng.integers(0, 8)]
        mutant[at : at + 4] = struct.pack("<I", value)
    return mutant


def bombs() -> Iterator[bytes]:
    """Headers of the largest size that is read, full of what takes the most memory or time."""

    def file(n_tensors: int, n_keys: int, *parts: bytes) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys) + b"".join(parts)

    def array(name: bytes, kind: int, count: int, content: bytes) -> bytes:
        return struct.pack("<Q", len(name)) + name + struct.pack("<IIQ", 9, kind, count) + content

    room = 60 * 2**20
    word = struct.pack("<Q", 2) + b"ab"
    yield file(0, 1, array(b"k", 8, 2**20 - 1, word * (2**20 - 1)))
    yield file(0, 40, *(array(b"%3d" % i, 8, 2**17, word * 2**17) for i in range(40)))
    yield file(0, 1, array(b"k", 8, room // 8, bytes(room)))
    yield file(0, 1, array(b"k", 4, room // 4, b"\xff" * room))
    yield file(0, 1, array(b"k", 6, room // 4, b"\x7f" * room))
    yield file(0, 2**20, *(struct.pack("<Q", 8) + b"%8d" % i + struct.pack("<I?", 7, True) for i in range(2**20)))
    row = struct.pack("<IQIQ", 1, 1, 0, 0)
    yield file(2**16, 0, *(struct.pack("<Q", 8) + b"%8d" % i + row for i in range(2**16)))


def attack(count: int, seed: int, *, with_bombs: bool) -> int:
    """Read mutants, print what happened, and return the number of violations."""
    rng = np.random.default_rng(seed)
    happened: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = originals(folder)
        reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (reserved + MEMORY_LIMIT,) * 2)
        signal.signal(signal.SIGALRM, _too_long)
        path = folder / "mutant.gguf"
        mutants = (mutate(files[i % len(files)], rng) for i in range(count))
        for i, content in enumerate(chain(mutants, bombs() if with_bombs else ())):
            path.write_bytes(content)
            began = time.perf_counter()
            signal.alarm(TIME_LIMIT_S)
            try:
                read_gguf(path)
                happened["read"] += 1
            except ExportError:
                happened["refused"] += 1
            except BaseException as error:  # whatever it is, it is what this looks for
                happened["violations"] += 1
                print(f"file {i} of seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
            signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"gguf mutants: {happened.total()} tried, {happened['read']} read, {happened['refused']} refused, "
        f"{happened['violations']} violations; peak memory {peak:.0f} MiB, slowest {slowest:.3f} s"
    )
    return happened["violations"]


def _too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {TIME_LIMIT_S} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-bombs", action="store_true", help="leave out the largest headers, which take seconds")
    asked = parser.parse_args()
    sys.exit(attack(asked.count, asked.seed, with_bombs=not asked.no_bombs) > 0)
