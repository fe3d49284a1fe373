"""A .tflite file with an index of its weights behind it: where each tensor of a student lies in the file, by name.

A .tflite file is a flatbuffer, and what follows it is nobody's: TFLite's own metadata puts a ZIP archive there. Ours
holds one entry, ``student.json``. What is read back are the very bytes that an engine reads, and no parser is needed.

Source: ai.google.dev/edge/litert, "Metadata": associated files are zipped to the end of the model file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from scaling.accounting import TokenizerLayout, litert_bytes, tensor_shapes
from scaling.errors import ExportError
from scaling.formats.quantized import QuantizedMatrix, Tensor, check_finite
from scaling.formats.student import StudentFile
from scaling.spec import ModelSpec

ENTRY = "student.json"
LARGEST_ENTRY = 1 << 26
"""Bytes of an index that is read, at most."""

ZIP_BYTES = 30 + 46 + 22 + 2 * len(ENTRY)
"""Of an archive with one entry, beside what it holds: two headers with its name, and the end."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """What is known of a file: sizes, tokens, texts for people, and the offset of each part of each tensor.

    A part is ``floats``, or ``values`` and ``scales``.
    """

    model: ModelSpec
    tokenizer: TokenizerLayout
    about: Mapping[str, str]
    places: Mapping[str, Mapping[str, int]]


_INDEX = TypeAdapter(Index)


def append_index(
    path: Path, tensors: Mapping[str, Tensor], *, model: ModelSpec, tokenizer: TokenizerLayout, about: Mapping[str, str]
) -> None:
    """Find every tensor of a student in a .tflite file, and write where behind it.

    Args:
        path: The file.
        tensors: As stored, under their GGUF names.
        model: Their sizes.
        tokenizer: Of the student.
        about: What the file says for people.

    Raises:
        ExportError: if a tensor is not there bit for bit.
    """
    content = path.read_bytes()
    places = {name: _places(content, name, tensor) for name, tensor in tensors.items()}
    values: dict[str, Any] = {
        "model": model.model_dump(mode="json"),
        "tokenizer": asdict(tokenizer),
        "about": dict(about),
        "places": places,
        "blank": "",
    }
    # Blanks make the file as long as was forecast; one by a converter that takes more room stays longer.
    is_int8 = isinstance(tensors["token_embd.weight"], QuantizedMatrix)
    forecast = litert_bytes(model, tokenizer, "symmetric_channel" if is_int8 else "F32")
    values["blank"] = max(0, forecast - len(content) - ZIP_BYTES - len(json.dumps(values))) * " "
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        # No date: the same student gives the same bytes.
        archive.writestr(zipfile.ZipInfo(ENTRY), json.dumps(values))


def _places(content: bytes, name: str, tensor: Tensor) -> dict[str, int]:
    found = {part: content.find(values.tobytes()) for part, values in _parts(tensor).items()}
    if min(found.values()) >= 0:
        return found
    # The converter keeps small matrices as floats.
    floats = tensor.dequantize() if isinstance(tensor, QuantizedMatrix) else tensor
    place = content.find(np.asarray(floats, "<f4").tobytes())
    if place < 0:
        raise ExportError(f"{name} is not in the converted file as it was quantized; another version may do")
    return {"floats": place}


def _parts(tensor: Tensor) -> dict[str, np.ndarray]:
    if isinstance(tensor, QuantizedMatrix):
        return {"values": tensor.values, "scales": np.asarray(tensor.scales, "<f4")}
    return {"floats": np.asarray(tensor, "<f4")}


def read_tflite(path: Path) -> StudentFile:
    """A file of a student, by the index behind it.

    Raises:
        ExportError: if it is absent, cut off, hostile, or has no such index.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such file — expected a .tflite file; was it exported?")
    # Whatever is in the file, and whatever the library says of it, is one sentence.
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(ENTRY)
            if entry.file_size > LARGEST_ENTRY:
                raise ValueError(f"an index of {entry.file_size} bytes")
            values = json.loads(archive.read(entry))
        values.pop("blank", None)
        index = _INDEX.validate_python(values)
        content = np.fromfile(path, np.uint8)
        shapes = tensor_shapes(index.model)
        tensors = {name: _floats(content, index.places[name], shape) for name, shape in shapes.items()}
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, ValidationError, EOFError) as error:
        raise ExportError(f"{path}: not a .tflite file of a student ({str(error).splitlines()[0][:160]})") from error
    check_finite(tensors, what=str(path))
    return StudentFile(
        model=index.model,
        tokenizer=index.tokenizer,
        tensors=tensors,
        about=index.about,
        file_bytes=path.stat().st_size,
    )


def _floats(content: np.ndarray, places: Mapping[str, int], shape: tuple[int, ...]) -> np.ndarray:
    if "floats" in places:
        return _cut(content, places["floats"], shape, "<f4").astype(np.float32)
    values = _cut(content, places["values"], shape, "i1").astype(np.float32)
    return values * _cut(content, places["scales"], (shape[0], 1), "<f4")


def _cut(content: np.ndarray, begin: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    n_bytes = int(np.prod(shape)) * np.dtype(kind).itemsize
    if not 0 <= begin <= len(content) - n_bytes:
        raise ValueError(f"a tensor lies at {begin}, outside of the file")
    return content[begin : begin + n_bytes].view(kind).reshape(shape)
