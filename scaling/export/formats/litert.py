"""LiteRT, the file of Google's engine for phones, as two export formats: int8, and float32 to compare with.

Converted from JAX without TensorFlow or PyTorch, in an environment of its own (``SCALING_LITERT_PYTHON``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from scaling.accounting import TokenizerLayout
from scaling.compress.student import QuantizedStudent
from scaling.errors import EngineError, ExportError
from scaling.export.child import WORKERS, run_child
from scaling.export.format import EXPORT_FORMATS, About, ExportFormat
from scaling.export.interpreters import LITERT
from scaling.export.litert_program import Program, step_program
from scaling.files import write_file
from scaling.formats.student import StudentFile
from scaling.formats.tflite import append_index, read_tflite
from scaling.spec import ModelSpec

CONVERT_S = 900.0
"""Longest wait for the converter, s; 135M parameters take half a minute."""


class LiteRt(ExportFormat):
    """int8 with one scale a channel, activations scaled anew for each token."""

    name = "litert"
    suffix = ".tflite"
    scheme: ClassVar[str] = "symmetric_channel"
    is_int8: ClassVar[bool] = True
    command = (
        'python -c "import numpy as n; from ai_edge_litert.interpreter import Interpreter as I; '
        "from tokenizers import Tokenizer as T; k = T.from_file('tokenizer.json'); m = I('{file}'); "
        "s = m.get_signature_runner('decode'); i = k.encode('{prompt}').ids; "
        "c = {{x: n.zeros(d['shape'], 'f') for x, d in s.get_input_details().items() if x[0] in 'kv'}}; "
        "f = lambda p: s(token=n.array([[i[p]]], 'i'), position=n.array([p], 'i'), **c); "
        "[(c.update({{x: o[x] for x in c}}), p + 1 == len(i) and i.append(int(o['logits'].argmax()))) "
        'for p in range(len(i) + 15) for o in [f(p)]]; print(k.decode(i))"'
    )

    def write(
        self, path: Path, student: QuantizedStudent, *, model: ModelSpec, tokenizer: TokenizerLayout, about: About
    ) -> None:
        self.check_scheme(student)

        def write(draft: Path) -> None:
            convert(draft, [step_program(model, student.tensors)], int8=self.is_int8)
            append_index(draft, student.tensors, model=model, tokenizer=tokenizer, about=vars(about))

        write_file(path, write)

    def read(self, path: Path) -> StudentFile:
        return read_tflite(path)


class LiteRtF32(LiteRt):
    """The weights as they were trained; the engine then computes what JAX does."""

    name = "litert_f32"
    scheme = "f32"
    is_int8 = False
    most_damage = 1e-6


def convert(path: Path, programs: Sequence[Program], *, int8: bool) -> None:
    """Let the converter write programs as one .tflite file, in its own environment.

    Args:
        path: File to write.
        programs: Of one student, whose weights are stored once.
        int8: Whether its matrices are.

    Raises:
        ExportError: it is not there, or could not.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, parts = Path(folder) / "model.tflite", []
        # The converter's environment has nothing of this project: programs and their names go there as files and text.
        for program in programs:
            artifact = Path(folder) / f"{program.name}.stablehlo"
            artifact.write_bytes(program.artifact)
            names = {"name": program.name, "inputs": program.inputs, "outputs": program.outputs}
            parts.append({"path": str(artifact), **names})
        job: dict[str, Any] = {"path": str(path), "programs": parts, "out": str(out), "int8": int8}
        try:
            LITERT.version("litert-converter")
            worker = WORKERS / "litert_convert_worker.py"
            run_child(worker, job, engine="LiteRT's converter", timeout_s=CONVERT_S, python=LITERT.path)
        except EngineError as error:
            raise ExportError(f"no .tflite file was made: {error}") from error
        path.write_bytes(out.read_bytes())


for _format in (LiteRt(), LiteRtF32()):
    EXPORT_FORMATS.add(_format.name, _format)
