"""Files that are written completely or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling.errors import RecordError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary name, flushed to disk, then renamed."""
    write_file(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that a reader sees the old content or the new, never a part."""
    write_bytes(path, to_json(content))


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, and rename it into place."""
    temporary = _temporary(path)
    try:
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_once(path: Path, content: bytes) -> bool:
    """Create a file that did not exist, completely or not at all; False where it exists already."""
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content)
        _flush(temporary)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RecordError: if it is absent or not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"{path}: not there — was the stage before run?") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path}: damaged, not JSON ({error}); move it away and it will be made again") from error


def to_json(content: Any) -> bytes:
    """Strict JSON with sorted keys, one of its two spellings; the other is the canonical one that ids are hashed
    from."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _temporary(path: Path) -> Path:
    """An empty file beside ``path`` that nobody else has, with the permissions that the umask gives."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    os.chmod(name, 0o666 & ~_UMASK)
    return Path(name)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
"""Read once: a process can ask for its mask only by setting it, which is no business of a thread."""
