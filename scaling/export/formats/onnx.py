"""ONNX, the file of ONNX Runtime, as two export formats: int8, and float32 to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from scaling.accounting import TokenizerLayout
from scaling.compress.student import QuantizedStudent
from scaling.export.format import EXPORT_FORMATS, About, ExportFormat
from scaling.formats.onnx import read_onnx, write_onnx
from scaling.formats.student import StudentFile
from scaling.spec import ModelSpec

HEAD_STEP = 16
"""Heads that ONNX Runtime's attention rotates are multiples of this wide."""


class Onnx(ExportFormat):
    """int8 in symmetric blocks of 32, the integers of Q8_0, run by ONNX Runtime."""

    name = "onnx"
    suffix = ".onnx"
    scheme: ClassVar[str] = "q8_0"
    packages = ("onnx",)
    command = (
        'python -c "import numpy as n, onnxruntime as o; from tokenizers import Tokenizer as T; '
        "k = T.from_file('tokenizer.json'); s = o.InferenceSession('{file}'); i = k.encode('{prompt}').ids; "
        "e = {{x.name: n.zeros((1, x.shape[1], 0, x.shape[3]), 'f') for x in s.get_inputs()[2:]}}; "
        "[i.append(int(s.run(['logits'], {{'input_ids': n.array([i]), 'attention_mask': n.ones((1, len(i)), 'q'), "
        '**e}})[0][0, -1].argmax())) for _ in range(16)]; print(k.decode(i))"'
    )

    def objection(self, model: ModelSpec) -> str | None:
        if model.head_width % HEAD_STEP:
            return f"heads of {model.head_width} values are no multiple of {HEAD_STEP}"
        return None

    def write(
        self, path: Path, student: QuantizedStudent, *, model: ModelSpec, tokenizer: TokenizerLayout, about: About
    ) -> None:
        self.check_scheme(student)
        write_onnx(path, student.tensors, model=model, tokenizer=tokenizer, about=vars(about))

    def read(self, path: Path) -> StudentFile:
        return read_onnx(path)


class OnnxF32(Onnx):
    """The weights as they were trained; the engine then computes what JAX does."""

    name = "onnx_f32"
    scheme = "f32"
    most_damage = 1e-6


for _format in (Onnx(), OnnxF32()):
    EXPORT_FORMATS.add(_format.name, _format)
