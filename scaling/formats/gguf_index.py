"""What a GGUF file holds, and where: its keys, and the place of each tensor.

A file may come from anywhere, so nothing in it is believed: every count, length, type and offset is held against the
bytes that are there before anything is allocated. Time and memory are bounded by the size of the file and by the limits
below, whatever it says.

Source: the GGUF specification, github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scaling.errors import ExportError

MAGIC = b"GGUF"
VERSIONS = (2, 3)

MAX_HEADER_BYTES = 64 * 2**20
"""Keys, tokens and tensor index together. A vocabulary of 262,144 tokens with two merges each takes about 16 MiB."""

MAX_TEXTS = 2**20
"""Keys, tokens and merges together; each is an object of its own in memory."""

MAX_TENSORS = 2**16
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32

STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", BOOL: "?", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
"""NumPy types of the scalar kinds of value, by their number in a file."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        shape: Rows first, as NumPy has it.
        kind: Number of its storage type.
        begin: Offset of its first byte in the file.
        n_bytes: Its length there.
    """

    shape: tuple[int, ...]
    kind: int
    begin: int
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class GgufIndex:
    """The keys of a file, and its tensors by name."""

    keys: dict[str, Any]
    tensors: dict[str, StoredTensor]


def read_index(path: Path, block_sizes: Mapping[int, tuple[int, int]]) -> GgufIndex:
    """Read all of a GGUF file but its weights.

    Args:
        path: The file.
        block_sizes: For the number of each storage type how many values a block has, and how many bytes.

    Raises:
        ExportError: if the file is absent, cut off, damaged, or says what cannot be.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such file — expected a GGUF file; was it exported?")
    with path.open("rb") as file:
        header = _Header(path, file, path.stat().st_size)
        if header.take(4, "its first bytes") != MAGIC:
            raise header.refused("it does not begin with GGUF")
        version = header.whole("<I", "its version")
        if version not in VERSIONS:
            raise header.refused(f"version {version}; {' and '.join(map(str, VERSIONS))} are known")
        n_tensors, n_keys = header.whole("<Q", "a count"), header.whole("<Q", "a count")
        # The least that an entry takes says how many there can be.
        header.expect(n_tensors, at_least=24, limit=MAX_TENSORS, what="tensors")
        header.expect(n_keys, at_least=13, limit=MAX_TEXTS, what="keys")
        keys: dict[str, Any] = {}
        for _ in range(n_keys):
            key = header.text("a key")
            if key in keys:
                raise header.refused(f"key {key} is there twice")
            keys[key] = header.value(key)
        return GgufIndex(keys=keys, tensors=_read_tensors(header, n_tensors, keys, block_sizes))


def _read_tensors(
    header: _Header, n_tensors: int, keys: Mapping[str, Any], block_sizes: Mapping[int, tuple[int, int]]
) -> dict[str, StoredTensor]:
    """The tensor index, each tensor inside the file and beside all others."""
    found: dict[str, tuple[tuple[int, ...], int, int, int]] = {}
    for _ in range(n_tensors):
        name = header.text("the name of a tensor")
        n_dimensions = header.whole("<I", f"the shape of {name}")
        if not 1 <= n_dimensions <= MAX_DIMENSIONS:
            raise header.refused(f"{name} has {n_dimensions} dimensions; 1 to {MAX_DIMENSIONS} are allowed")
        shape = tuple(header.whole("<Q", f"the shape of {name}") for _ in range(n_dimensions))[::-1]
        kind, offset = header.whole("<I", f"the type of {name}"), header.whole("<Q", f"the place of {name}")
        if name in found:
            raise header.refused(f"tensor {name} is there twice")
        if kind not in block_sizes:
            raise header.refused(f"{name} is stored as type {kind}, which is not known")
        block, block_bytes = block_sizes[kind]
        if shape[-1] % block:
            raise header.refused(f"rows of {name} have {shape[-1]} values, which are no blocks of {block}")
        found[name] = (shape, kind, offset, prod(shape) // block * block_bytes)
    alignment = keys.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**16 or alignment & (alignment - 1):
        raise header.refused(f"general.alignment is {alignment!r}; a power of two is needed")
    data, end = -(-header.position // alignment) * alignment, 0
    # In the order of the file each tensor begins after the one before: what is read is never more than the file.
    for name, (_, _, offset, n_bytes) in sorted(found.items(), key=lambda item: item[1][2]):
        if offset < end or offset % alignment:
            raise header.refused(f"{name} lies over another tensor, or at an odd place")
        end = offset + n_bytes
        if data + end > header.size:
            raise header.refused(f"{name} ends {data + end - header.size} bytes after the file")
    return {
        name: StoredTensor(shape=shape, kind=kind, begin=data + offset, n_bytes=n_bytes)
        for name, (shape, kind, offset, n_bytes) in found.items()
    }


class _Header:
    """The bytes at the beginning of a file, taken one after the other and never more than there are."""

    def __init__(self, path: Path, file: BinaryIO, size: int):
        self.path, self.file, self.size = path, file, size
        self.position, self.limit, self.texts_left = 0, min(size, MAX_HEADER_BYTES), MAX_TEXTS

    def refused(self, why: str) -> ExportError:
        return ExportError(f"{self.path}: not a complete GGUF file ({why}); it was cut or is something else")

    def take(self, n_bytes: int, what: str) -> bytes:
        if n_bytes > self.limit - self.position:
            raise self.refused(f"{what} takes {n_bytes} bytes, {self.limit - self.position} are left")
        content = self.file.read(n_bytes)
        if len(content) != n_bytes:
            raise self.refused("it became shorter while it was read")
        self.position += n_bytes
        return content

    def whole(self, layout: str, what: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))[0]

    def expect(self, count: int, *, at_least: int, limit: int, what: str) -> None:
        """Refuse a count of things that cannot all be there."""
        if count > min(limit, (self.limit - self.position) // at_least):
            raise self.refused(f"{count} {what} cannot be in the {self.limit - self.position} bytes that are left")

    def text(self, what: str) -> str:
        self.texts_left -= 1
        content = self.take(self.whole("<Q", what), what)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.refused(f"{what} is no UTF-8") from error

    def value(self, key: str) -> Any:
        """A value with its type before it; an array is a list of texts or a NumPy array."""
        kind = self.whole("<I", key)
        if kind != ARRAY:
            return self.text(key) if kind == STRING else self._scalars(kind, 1, key)[0].item()
        kind, count = self.whole("<I", key), self.whole("<Q", key)
        if kind == STRING:
            self.expect(count, at_least=8, limit=self.texts_left, what=f"texts of {key}")
            return [self.text(key) for _ in range(count)]
        return self._scalars(kind, count, key)

    def _scalars(self, kind: int, count: int, key: str) -> np.ndarray:
        if kind not in SCALARS:
            raise self.refused(f"{key} is of type {kind}, which is not known")
        dtype = np.dtype(SCALARS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize, key), dtype)
