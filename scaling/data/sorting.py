"""Documents in the order of their hashes, so that a text is the same whatever files, and in whatever order, it came in.

A corpus that is too large to be sorted at once is first dealt into buckets on disk, each a range of the order.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from scaling.data.corpora import Corpus, Split
from scaling.data.documents import to_bytes

BUCKET_BYTES = 1 << 25
"""Text that is held at once, about."""
MOST_BUCKETS = 512
"""Files open at once."""

_SCRATCH = ".sorting-"


def in_hash_order(corpus: Corpus, split: Split, folder: Path) -> Iterator[str]:
    """Documents of a part, ordered by the hash of their content.

    Args:
        corpus: Where they come from.
        split: Which part.
        folder: Where buckets may lie meanwhile; left as it was found. Nobody else may write there.
    """
    for left_over in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left_over)  # of a process that was killed
    n_buckets = min(MOST_BUCKETS, -(-corpus.n_bytes(split) // BUCKET_BYTES))
    if n_buckets <= 1:
        yield from (text for _, text in sorted(corpus.documents(split)))
        return
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
        for path in _dealt(corpus, split, Path(scratch), n_buckets):
            yield from (text.decode("utf-8", "surrogateescape") for _, text in sorted(_read(path)))
            path.unlink()


def _dealt(corpus: Corpus, split: Split, scratch: Path, n_buckets: int) -> list[Path]:
    """Write every document into the bucket of its rank; buckets hold about equal bytes."""
    sizes = corpus.scan.n_bytes.copy()
    first, last = (0, corpus.n_held_out) if split == "held_out" else (corpus.n_held_out, len(sizes))
    before = np.cumsum(sizes[first:last]) - sizes[first:last]
    bucket_of = before * n_buckets // max(1, int(sizes[first:last].sum()))
    paths = [scratch / f"{i:03d}" for i in range(n_buckets)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for rank, text in corpus.documents(split):
            content = to_bytes(text)
            head = np.array([rank, len(content)], "<u8").tobytes()
            files[bucket_of[rank - first]].write(head + content)
    return paths


def _read(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        while head := file.read(16):
            rank, length = np.frombuffer(head, "<u8").tolist()
            yield rank, file.read(length)
