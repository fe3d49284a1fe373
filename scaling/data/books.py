"""How the text of Debian's book packages is stored, and what of it is prose.

Every reader takes the folder that a package was unpacked into and yields documents: paragraphs with blank lines
between them.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from scaling.data.documents import paragraphs

SHORTEST = 80
"""Characters of a paragraph, at least."""
FEWEST_LETTERS = 0.7
"""Share of a paragraph's characters that are letters, at least: tables, code and references have fewer."""
FEWEST_STOP_WORDS = 0.15
"""Share of a paragraph's words that are ``STOP_WORDS``, at least: lists, indexes and other languages have fewer."""
SHORTEST_DATA = 1000
"""Characters of an R object that holds text, at least: others are names."""
STOP_WORDS = (
    "a all an and any are as at be been but by can do for from had has have he her him his i if in into is it its may "
    "me more my no not of on one or our out shall she should so such than that the their them then there these they "
    "this thou thy to up upon us was we were what when which who will with would you your"
)

_STOP_WORDS = frozenset(STOP_WORDS.split())
_BLOCK_TAGS = (
    "p div blockquote pre li ul ol dt dd dl h1 h2 h3 h4 h5 h6 tr td th table title chapter lg row cell list item br hr"
)
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_SKIPPED = ("note", "pre", "script", "style", "head")
_WORD = re.compile(r"[a-z]+")
_WORD_TAG = re.compile(r"</?w\b[^>]*>")
"""Marks a word's root, once a word: most of what a module with Strong's numbers holds."""
_R_STRING = re.compile(rb"\x00(?:\x04\x00|\x00\x80)\x09")
"""Type 9, in ASCII or UTF-8."""


def prose_of(document: str) -> str:
    """The paragraphs of a document that are English prose, each on one line; "" where there are none."""
    lines = (" ".join(paragraph.split()) for paragraph in paragraphs(document))
    return "\n\n".join(line for line in lines if is_prose(line))


def is_prose(paragraph: str) -> bool:
    """True for a paragraph of running English: long enough, mostly letters, with the words that all English has."""
    if len(paragraph) < SHORTEST or sum(map(str.isalpha, paragraph)) < FEWEST_LETTERS * len(paragraph):
        return False
    words = _WORD.findall(paragraph.lower())
    return sum(word in _STOP_WORDS for word in words) >= FEWEST_STOP_WORDS * len(words) > 0


def read_html(root: Path, without: Collection[str] = ()) -> Iterator[str]:
    """Pages, one document each; a page or folder of a name in ``without`` is left out."""
    for path in sorted([*root.rglob("*.html"), *root.rglob("*.htm")]):
        if not set(without).intersection(path.relative_to(root).parts):
            yield _Page.text_of(path.read_text("utf-8", errors="replace"))


def read_json(root: Path) -> Iterator[str]:
    """Every string in a .json file, a document a file; texts with holes, which are in angle brackets, are left out."""
    for path in sorted(root.rglob("*.json")):
        strings = _strings(json.loads(path.read_bytes()))
        yield "\n\n".join(string for string in strings if "<" not in string)


def _strings(value: object) -> Iterator[str]:
    """The strings of a JSON value, without names and without comments, which stand behind names of two slashes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings([inner for name, inner in value.items() if not name.startswith("//")])
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def read_fortunes(root: Path) -> Iterator[str]:
    """Collections of sayings, separated by lines of one percent sign."""
    for path in sorted(root.glob("usr/share/games/fortunes/*")):
        if path.is_file() and not path.is_symlink() and path.suffix not in (".dat", ".u8"):
            yield path.read_text("utf-8", errors="replace").replace("\n%\n", "\n\n")


def read_gzipped(root: Path) -> Iterator[str]:
    """Plain text in .txt.gz; a document a file."""
    for path in sorted(root.rglob("*.txt.gz")):
        yield gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")


def read_dictionary(root: Path) -> Iterator[str]:
    """A dictd database: entries in the order of the alphabet, about a hundred thousand characters a document."""
    for path in sorted(root.rglob("*.dict.dz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
        entries = re.split(r"\n(?=\S)", text)
        document: list[str] = []
        for entry in entries:
            document.append(entry)
            if sum(map(len, document)) > 100_000:
                yield "\n\n".join(document)
                document = []
        yield "\n\n".join(document)


def read_r_data(root: Path) -> Iterator[str]:
    """Character vectors in an R package's lazy-load database; a vector of lines, or one long string, is a document.

    The database is a row of zlib streams, each behind its uncompressed length in four bytes; a character vector is type
    16 with a length and so many strings of type 9.
    """
    for path in sorted(root.rglob("data/Rdata.rdb")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            stream = zlib.decompressobj()
            value = stream.decompress(content[at + 4 :])
            at = len(content) - len(stream.unused_data)
            text = "\n".join(_r_strings(value))
            if len(text) > SHORTEST_DATA:
                yield text


def _r_strings(value: bytes) -> list[str]:
    """The strings of a serialised object, in order."""
    found, at = [], 0
    while match := _R_STRING.search(value, at):
        at = match.end() + 4
        length = int.from_bytes(value[match.end() : at])
        found.append(value[at : at + length].decode("utf-8", errors="replace"))
        at += length
    return found


def read_sword(root: Path) -> Iterator[str]:
    """Modules of the SWORD project, compressed by chapter or book (zText, zCom); a document a block.

    ``zz`` holds the blocks, ``zs`` where each lies, ``zv`` which part of which block belongs to each verse; several
    verses may share an entry, and what a module says of the width of its entries is not always so.
    """
    for conf in sorted(root.rglob("mods.d/*.conf")):
        entry = dict(line.split("=", 1) for line in conf.read_text("utf-8", "replace").splitlines() if "=" in line)
        for path in sorted((conf.parents[1] / entry["DataPath"]).glob("[on]t.?zz")):
            stem = str(path).removesuffix("zz")
            blocks = np.frombuffer(Path(f"{stem}zs").read_bytes(), "<u4").reshape(-1, 3)
            verses = _verses(Path(f"{stem}zv").read_bytes(), blocks[:, 2])
            content = path.read_bytes()
            for number, (start, length, _) in enumerate(blocks):
                block = zlib.decompress(content[start : start + length])
                own = verses[verses["block"] == number]
                pieces = (block[v["start"] : int(v["start"]) + int(v["size"])] for v in own)
                yield _Page.text_of(_WORD_TAG.sub("", " ".join(piece.decode("utf-8", "replace") for piece in pieces)))


def _verses(content: bytes, block_bytes: np.ndarray) -> np.ndarray:
    """Different entries of a verse index: (block, start, size) in order; sizes take four bytes or two."""
    for width in ("<u4", "<u2"):
        entry = np.dtype([("block", "<u4"), ("start", "<u4"), ("size", width)])
        if len(content) % entry.itemsize == 0:
            found = np.unique(np.frombuffer(content, entry))
            found = found[found["size"] > 0]
            ends = found["start"].astype(np.int64) + found["size"]
            inside = found["block"] < len(block_bytes)
            if inside.all() and (ends <= block_bytes[found["block"]]).all():
                return found
    raise ValueError("the verse index does not fit its blocks")


class _Page(HTMLParser):
    """Text of HTML or OSIS: block elements end a paragraph, footnotes and scripts are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.skipping = 0

    @classmethod
    def text_of(cls, content: str) -> str:
        page = cls()
        page.feed(content)
        page.close()
        return "".join(page.parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipping += tag in _SKIPPED
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self.skipping -= tag in _SKIPPED and self.skipping > 0
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag, dict(attrs))

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.parts.append(data)

    def _break(self, tag: str, attrs: dict[str, str | None] | None = None) -> None:
        # A milestone marks a place in a verse, not the end of a paragraph.
        if tag in _BLOCKS and (attrs or {}).get("type") != "x-milestone":
            self.parts.append("\n\n")
