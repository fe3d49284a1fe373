"""GGUF, the file of llama.cpp: write a student, and read one back as float32 tensors.

Names, keys and sizes come from ``scaling.accounting``, so that the forecast of a file's bytes and the file cannot
disagree. The student's RoPE rotates the pairs (2i, 2i+1), as this architecture expects: no row is permuted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from scaling.accounting import (
    GGUF_ARRAYS,
    GGUF_BLANK,
    Storage,
    TokenizerLayout,
    gguf_metadata,
    misfit,
    tensor_shapes,
)
from scaling.dimensions import GGUF_BLOCK
from scaling.errors import ExportError
from scaling.files import clear_errors, write_file
from scaling.formats.gguf_index import StoredTensor, read_index
from scaling.formats.gguf_keys import read_model, read_tokenizer
from scaling.formats.quantized import QuantizedMatrix, Tensor, check_finite
from scaling.formats.student import StudentFile
from scaling.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class GgufFile(StudentFile):
    """What a GGUF file says, its texts by key: ``general.name``, ``general.license``, …

    Attributes:
        storage: Type of each tensor as stored, e.g. ``Q8_0``.
    """

    storage: dict[str, str]


def write_gguf(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    model: ModelSpec,
    tokenizer: TokenizerLayout,
    about: Mapping[str, str] | None = None,
    extra: Mapping[str, str | int | bytes] | None = None,
    version: int = 3,
) -> int:
    """Write a student as a GGUF file, completely or not at all.

    Args:
        path: File to write; replaced if it exists.
        tensors: Under their GGUF names: float32 or float16 arrays, or matrices in blocks of 32 (Q8_0 or Q4_0, by their
            bits). Vectors are stored as float32.
        model: Sizes of the model.
        tokenizer: What the file says about its tokens.
        about: What it says for people, by key, as ``general.name``.
        extra: Keys of one program alone, whose bytes no forecast counts; bytes become an array of uint8.
        version: Of the format; 2 and 3 differ in nothing that a little-endian machine writes.

    Returns:
        Size of the file in bytes; equal to ``accounting.gguf_bytes``.

    Raises:
        ExportError: if the tensors or the tokenizer do not fit the model.
        MissingPackageError: if ``gguf`` is not installed.
        SpecError: if ``about`` is longer than a file has room for.
    """
    gguf = _import_gguf()
    path = Path(path)
    _check_tensors(path, model, tensors)
    if len(tokenizer.tokens) != model.vocab_size:
        raise ExportError(
            f"{path}: the tokenizer has {len(tokenizer.tokens)} tokens, the model a vocabulary of {model.vocab_size}; "
            "use the tokenizer that the model was trained with"
        )

    metadata = gguf_metadata(model, tokenizer, _file_storage(tensors), about=about)

    # The order of metadata and tensors is accounting's, which knows the size of the file before there is one.
    def write(temporary: Path) -> None:
        with closing(gguf.GGUFWriter(temporary, "llama")) as writer:
            _add_metadata(writer, metadata, tokenizer)
            for key, value in (extra or {}).items():
                _add_extra(writer, key, value)
            for key in tensor_shapes(model):
                _add_tensor(gguf, writer, key, tensors[key])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        # The writer knows one version.
        with temporary.open("r+b") as file:
            file.seek(4)
            file.write(struct.pack("<I", version))

    write_file(path, write)
    return path.stat().st_size


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """What a GGUF file says beside its weights.

    Attributes:
        model: Sizes of the model.
        tokenizer: Its tokens.
        about: Its texts for people and programs, by key.
    """

    model: ModelSpec
    tokenizer: TokenizerLayout
    about: dict[str, str]

    @property
    def name(self) -> str:
        """``general.name``."""
        return self.about.get("general.name", "")

    @property
    def license(self) -> str:
        """``general.license``; empty where it says none."""
        return self.about.get("general.license", "")


def read_gguf_header(path: str | os.PathLike[str]) -> GgufHeader:
    """Read what a GGUF file says of its model and tokens, but no weights.

    Raises:
        ExportError: as :func:`read_gguf` does.
    """
    return _open(_import_gguf(), Path(path))[0]


def read_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """Read a GGUF file of the ``llama`` architecture; every stored type that the ``gguf`` package knows is dequantized.

    Raises:
        ExportError: if the file is absent, cut off, hostile, of another architecture, says something that no student
            can do, or holds weights that are not finite.
    """
    gguf, path = _import_gguf(), Path(path)
    header, stored = _open(gguf, path)
    tensors = {key: _read_tensor(gguf, path, key, tensor) for key, tensor in stored.items()}
    check_finite(tensors, what=str(path))
    return GgufFile(
        model=header.model,
        tokenizer=header.tokenizer,
        tensors=tensors,
        storage={key: gguf.GGMLQuantizationType(tensor.kind).name for key, tensor in stored.items()},
        about=header.about,
        file_bytes=path.stat().st_size,
    )


def _open(gguf: ModuleType, path: Path) -> tuple[GgufHeader, dict[str, StoredTensor]]:
    """What a file says, and where its tensors are."""
    index = read_index(path, {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()})
    keys, stored = index.keys, index.tensors
    model = read_model(path, keys, n_tensors=len(stored), tied="output.weight" not in stored)
    _check_tensors(path, model, stored)
    header = GgufHeader(
        model=model,
        tokenizer=read_tokenizer(path, keys),
        about={key: value for key, value in keys.items() if isinstance(value, str) and key != GGUF_BLANK},
    )
    return header, stored


def _import_gguf() -> ModuleType:
    with clear_errors():
        import gguf
    return gguf


def _file_storage(tensors: Mapping[str, Tensor]) -> Storage:
    """What ``general.file_type`` says: the storage of the matrices."""
    table = tensors["token_embd.weight"]
    if isinstance(table, QuantizedMatrix):
        return _BLOCK_STORAGE[table.bits]
    return "F16" if table.dtype == np.float16 else "F32"


def _add_metadata(writer: Any, metadata: Mapping[str, str | int | float | bool], tokenizer: TokenizerLayout) -> None:
    for key, value in metadata.items():
        if key == "general.architecture":
            continue  # the writer said it already
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            if value >= 2**32:
                raise ExportError(f"{key} is {value}, which the 32 bits of a GGUF number cannot hold; lower it")
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_string(key, value)
    for key, values in zip(GGUF_ARRAYS, (tokenizer.tokens, tokenizer.token_types, tokenizer.merges), strict=True):
        writer.add_array(key, values)


def _add_extra(writer: Any, key: str, value: str | int | bytes) -> None:
    if isinstance(value, bytes):
        writer.add_array(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_string(key, value)


_BLOCK_STORAGE: dict[int, Storage] = {8: "Q8_0", 4: "Q4_0"}
"""Storage of matrices in blocks, by the bits of a value."""


def _add_tensor(gguf: ModuleType, writer: Any, key: str, tensor: Tensor) -> None:
    if isinstance(tensor, QuantizedMatrix):
        _check_blocks(key, tensor)
        kind = gguf.GGMLQuantizationType[_BLOCK_STORAGE[tensor.bits]]
        writer.add_tensor(key, _pack(tensor), raw_dtype=kind)
    elif tensor.ndim == 1 or tensor.dtype != np.float16:
        writer.add_tensor(key, np.ascontiguousarray(tensor, np.float32))
    else:
        writer.add_tensor(key, np.ascontiguousarray(tensor))


def _check_blocks(key: str, matrix: QuantizedMatrix) -> None:
    out, width = matrix.shape
    is_blocks = matrix.scales.shape == (out, width // GGUF_BLOCK) and matrix.zero_points is None
    if not is_blocks or matrix.bits not in _BLOCK_STORAGE:
        zero_points = " and zero points" if matrix.zero_points is not None else ""
        raise ExportError(
            f"{key}: GGUF stores integers of 4 or 8 bits in symmetric blocks of {GGUF_BLOCK} — got "
            f"{matrix.scales.shape[1]} scales a row of {width}{zero_points}, {matrix.bits} bits; "
            "quantize with scheme q8_0 or q4_0"
        )


def _pack(matrix: QuantizedMatrix) -> np.ndarray:
    """Bytes uint8[out, n]: for each block its f16 scale, then its values; two of 4 bits share a byte, the first half of
    a block in the low ones."""
    out, blocks = matrix.scales.shape
    scales = matrix.scales.astype("<f2").reshape(out, blocks, 1).view(np.uint8)
    values = matrix.values.reshape(out, blocks, GGUF_BLOCK)
    if matrix.bits == 4:
        levels = (values + 8).astype(np.uint8)
        packed = levels[..., : GGUF_BLOCK // 2] | levels[..., GGUF_BLOCK // 2 :] << 4
    else:
        packed = values.view(np.uint8)
    return np.concatenate([scales, packed], axis=2).reshape(out, -1)


def _check_tensors(path: Path, model: ModelSpec, tensors: Mapping[str, Any]) -> None:
    if wrong := misfit(model, tensors):
        raise ExportError(f"{path}: {wrong}")


def _read_tensor(gguf: ModuleType, path: Path, name: str, tensor: StoredTensor) -> np.ndarray:
    """One tensor as float32, from the bytes that the index gives."""
    kind = gguf.GGMLQuantizationType(tensor.kind)
    stored = np.fromfile(path, np.uint8, count=tensor.n_bytes, offset=tensor.begin)
    if len(stored) != tensor.n_bytes:
        raise ExportError(f"{path}: became shorter while it was read; read it again when nobody writes it")
    try:
        with np.errstate(all="ignore"):  # a scale that is not finite is found afterwards, with its tensor's name
            values = gguf.dequantize(stored.reshape(*tensor.shape[:-1], -1), kind)
    except NotImplementedError as error:
        raise ExportError(f"{path}: {name} is stored as {kind.name}, which cannot be read") from error
    return np.asarray(values, np.float32).reshape(tensor.shape)
