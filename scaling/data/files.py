"""Documents from files: plain text, JSON lines, parquet."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from pathlib import Path

from scaling.errors import DataError

TEXT_FIELD = "text"
"""The JSON key and parquet column that holds a document."""


def read_files(pattern: str) -> list[str]:
    """Read documents: a .txt file is one, a .jsonl or .parquet file has one in each row's ``text``.

    Args:
        pattern: A glob; ``**`` crosses folders.

    Raises:
        DataError: if nothing matches, or a file is empty, not UTF-8, or has no text where it should.
    """
    paths = sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())
    if not paths:
        raise DataError(f"no file matches {pattern!r}; give a glob of .txt, .jsonl or .parquet files")
    documents = []
    for path in paths:
        found = [text for text in _READERS.get(path.suffix, _refuse)(path) if text.strip()]
        if not found:
            raise DataError(f"{path}: holds no text; remove it from the glob, or put the text back")
        documents += found
    return documents


def _read_text(path: Path) -> Iterator[str]:
    yield _decode(path).replace("\r\n", "\n")


def _read_jsonl(path: Path) -> Iterator[str]:
    for number, line in enumerate(_decode(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); every line is one object") from error
        if not isinstance(row, dict) or not isinstance(row.get(TEXT_FIELD), str):
            raise DataError(f"{path}:{number}: no string under {TEXT_FIELD!r}; every line needs one")
        yield row[TEXT_FIELD]


def _read_parquet(path: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(path, columns=[TEXT_FIELD])[TEXT_FIELD].to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(f"{path}: no column {TEXT_FIELD!r} can be read from this parquet file ({error})") from error
    if any(not isinstance(text, str) for text in column):
        raise DataError(f"{path}: column {TEXT_FIELD!r} must hold strings only, without nulls")
    yield from column


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start}); "
            "convert it, for example with iconv, or remove it from the glob"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _refuse(path: Path) -> Iterator[str]:
    raise DataError(f"{path}: files of type {path.suffix or 'without suffix'} are not read; use {', '.join(_READERS)}")


_READERS = {".txt": _read_text, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
