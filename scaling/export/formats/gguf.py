"""GGUF, the file of llama.cpp, as an export format."""

from __future__ import annotations

from pathlib import Path

from scaling.accounting import TokenizerLayout
from scaling.compress.student import QuantizedStudent
from scaling.errors import ExportError
from scaling.export.format import EXPORT_FORMATS, ExportFormat, ReadBack
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.spec import ModelSpec


class Gguf(ExportFormat):
    """int8 in symmetric blocks of 32 (Q8_0), run by llama.cpp."""

    name = "gguf"
    suffix = ".gguf"
    scheme = "q8_0"
    packages = ("gguf",)

    def write(
        self, path: Path, student: QuantizedStudent, *, model: ModelSpec, tokenizer: TokenizerLayout, name: str
    ) -> None:
        if student.scheme != self.scheme:
            raise ExportError(
                f"GGUF has no int8 with zero points: the student is {student.scheme}, {self.scheme} is needed; "
                f"quantize it with scheme {self.scheme}"
            )
        write_gguf(path, student.tensors, model=model, tokenizer=tokenizer, name=name)

    def read(self, path: Path) -> ReadBack:
        file = read_gguf(path)
        return ReadBack(
            model=file.model,
            tokenizer=file.tokenizer,
            tensors=file.tensors,
            name=file.name,
            file_bytes=file.file_bytes,
        )


EXPORT_FORMATS.add("gguf", Gguf())
