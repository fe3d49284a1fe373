"""Documents from files, one at a time: plain text, JSON lines, parquet.

A document is a ``str``. Where bytes that are no UTF-8 are kept, each stands in it as Python's surrogate escape, and
:func:`to_bytes` gives back the bytes of the file.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from scaling.errors import DataError
from scaling.files import clear_errors, machine_error

NonUtf8 = Literal["refuse", "keep"]

TEXT_FIELD = "text"
"""The JSON key and parquet column that holds a document."""
END_OF_DOCUMENT = "<|endoftext|>"
"""Separates the documents of one .txt file, where it has several."""
LARGEST_DOCUMENT = 1 << 24
"""Characters of a .txt file's document, about; a longer one becomes several, cut between lines."""
LONGEST_ROW = 1 << 28
"""Bytes of a .jsonl file's line, at most."""
READ_BYTES = 1 << 20

_GAP = re.compile(r"\n\s*\n")


def read_files(pattern: str, *, non_utf8: NonUtf8 = "refuse") -> Iterator[str]:
    """Read documents: a .txt file is one, a .jsonl or .parquet file has one in each row's ``text``.

    A .txt file in which ``<|endoftext|>`` separates documents has several, and so has one beyond 16 million characters.

    Args:
        pattern: A glob; ``**`` crosses folders.
        non_utf8: Whether bytes that are no UTF-8 are an error, or kept as they are.

    Raises:
        DataError: if nothing matches, or a file is empty, unreadable, not UTF-8, or has no text where it should.
    """
    # Only files: a device may never end, and a folder has no text of its own.
    try:
        paths = sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())
    except ValueError as error:
        raise DataError(f"{pattern!r} is no glob of files ({error}); give one, such as 'texts/*.txt'") from error
    if not paths:
        raise DataError(f"no file matches {pattern!r}; give a glob of .txt, .jsonl or .parquet files")
    for path in paths:
        empty = True
        try:
            for text in _READERS.get(path.suffix, _refuse)(path, non_utf8):
                if text.strip():
                    empty = False
                    yield text
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
        if empty:
            raise DataError(f"{path}: holds no text; remove it from the glob, or put the text back")


def to_bytes(text: str) -> bytes:
    """The bytes that a document was read from."""
    return text.encode("utf-8", "surrogateescape")


def paragraphs(text: str) -> list[str]:
    """What blank lines separate, whatever white space they hold."""
    return _GAP.split(text)


def _read_text(path: Path, non_utf8: NonUtf8) -> Iterator[str]:
    waiting = ""
    for block in _blocks(path, non_utf8):
        *ended, waiting = (waiting + block).split(END_OF_DOCUMENT)
        if ended:
            yield from (text.strip("\n") for text in ended)
            waiting = waiting.lstrip("\n")
        if len(waiting) >= LARGEST_DOCUMENT:
            at = waiting.rfind("\n\n") + 1 or waiting.rfind("\n") + 1 or len(waiting)
            yield waiting[:at]
            waiting = waiting[at:]
    yield waiting


def _blocks(path: Path, non_utf8: NonUtf8) -> Iterator[str]:
    """A file in pieces of whole lines, which never cut a character in two."""
    at = 0
    with path.open("rb") as file:
        while lines := file.readlines(READ_BYTES):
            content = b"".join(lines)
            yield _decode_lines(content, path, at, non_utf8)
            at += len(content)


def _read_jsonl(path: Path, non_utf8: NonUtf8) -> Iterator[str]:
    at = 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_ROW + 1), b""), start=1):
            if len(line) > LONGEST_ROW:
                raise DataError(f"{path}:{number}: longer than {LONGEST_ROW} bytes; cut it into several documents")
            content = _decode_lines(line, path, at, non_utf8)
            at += len(line)
            if content.strip():
                yield _text_of_row(content, f"{path}:{number}", non_utf8)


def _text_of_row(content: str, place: str, non_utf8: NonUtf8) -> str:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        said = getattr(error, "msg", error)
        raise DataError(f"{place}: not JSON ({said}); every line is one object") from error
    if not isinstance(row, dict) or not isinstance(row.get(TEXT_FIELD), str):
        raise DataError(f"{place}: no string under {TEXT_FIELD!r}; every line needs one")
    text = row[TEXT_FIELD]
    try:
        text.encode("utf-8", "surrogateescape" if non_utf8 == "keep" else "strict")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: \\u{ord(text[error.start]):04x} in {TEXT_FIELD!r} is half a character; escape it as a pair, "
            "or remove it"
        ) from error
    return text.replace("\r\n", "\n")


def _read_parquet(path: Path, non_utf8: NonUtf8) -> Iterator[str]:
    with clear_errors():
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        # Buffered, a row group is read by pages and never held whole.
        with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            if TEXT_FIELD not in file.schema_arrow.names:
                raise KeyError(f"its columns are {', '.join(file.schema_arrow.names)}")
            row = 0
            for batch in file.iter_batches(batch_size=256, columns=[TEXT_FIELD]):
                for value in batch.column(0).cast(pa.binary()).to_pylist():
                    if value is None:
                        raise DataError(f"{path}: column {TEXT_FIELD!r} is null in row {row}; drop such rows")
                    yield _decode(value, path, 0, non_utf8, place=f" of row {row}")
                    row += 1
    except DataError:
        raise
    except Exception as error:
        if machine := machine_error(error):
            raise machine from error
        # Readers raise what their libraries raise: whatever it is, the file is at fault.
        raise DataError(
            f"{path}: no column {TEXT_FIELD!r} of strings can be read from this parquet file ({error})"
        ) from error


def _decode_lines(content: bytes, path: Path, at: int, non_utf8: NonUtf8) -> str:
    """Lines of a file as text, without the mark that some programs begin a UTF-8 file with."""
    text = _decode(content, path, at, non_utf8)
    return text.removeprefix("\ufeff") if at == 0 else text


def _decode(content: bytes, path: Path, at: int, non_utf8: NonUtf8, place: str = "") -> str:
    """Bytes as text, lines ended by ``\\n``; ``at`` is where they begin in the file."""
    try:
        return content.decode("utf-8", "surrogateescape" if non_utf8 == "keep" else "strict").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x} at {at + error.start}{place}); convert it, for "
            "example with iconv, remove it from the glob, or keep such bytes as they are: `non_utf8: keep` beside "
            "`corpus` in the sweep file, which `scaling init … --keep-non-utf8` writes"
        ) from error


def _refuse(path: Path, _: NonUtf8) -> Iterator[str]:
    raise DataError(f"{path}: files of type {path.suffix or 'without suffix'} are not read; use {', '.join(_READERS)}")


_READERS: dict[str, Callable[[Path, NonUtf8], Iterator[str]]] = {
    ".txt": _read_text,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
