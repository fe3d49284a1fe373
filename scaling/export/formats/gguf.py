"""GGUF, the file of llama.cpp, as four export formats: by how matrices are stored."""

from __future__ import annotations

from pathlib import Path

from scaling.accounting import TokenizerLayout
from scaling.compress.student import QuantizedStudent
from scaling.export.format import EXPORT_FORMATS, About, ExportFormat
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.formats.student import StudentFile
from scaling.spec import ModelSpec

RUN_ID = "scaling.run_id"

ABOUT_KEYS = {
    "general.name": "name",
    "general.description": "description",
    "general.license": "license",
    "general.dataset.0.name": "text",
    RUN_ID: "run_id",
}
"""Keys for people, by what they say. Source: the GGUF specification, general metadata."""


class Gguf(ExportFormat):
    """int8 in symmetric blocks of 32 (Q8_0), run by llama.cpp."""

    name = "gguf"
    suffix = ".gguf"
    scheme = "q8_0"
    packages = ("gguf",)
    command = (
        "python -c \"import xllamacpp as x; p = x.CommonParams(); p.model.path = '{file}'; p.n_ctx = {context}; "
        "p.no_extra_bufts = True; p.verbosity = 0; print(x.Server(p).handle_completions(dict(prompt='{prompt}', "
        "n_predict=16, temperature=0))['choices'][0]['text'])\""
    )

    def write(
        self, path: Path, student: QuantizedStudent, *, model: ModelSpec, tokenizer: TokenizerLayout, about: About
    ) -> None:
        self.check_scheme(student)
        keys = {key: getattr(about, name) for key, name in ABOUT_KEYS.items()}
        write_gguf(path, student.tensors, model=model, tokenizer=tokenizer, about=keys)

    def read(self, path: Path) -> StudentFile:
        return read_gguf(path)


class GgufQ4(Gguf):
    """4 bits in symmetric blocks of 32 (Q4_0); without training for it a student loses 0.02 to 0.3 nats/token."""

    name = "gguf_q4_0"
    scheme = "q4_0"
    most_damage = 0.5


class GgufF16(Gguf):
    """Half the bytes of float32 and the same loss: what int8 is compared with."""

    name = "gguf_f16"
    scheme = "f16"
    most_damage = 0.001


class GgufF32(Gguf):
    """The weights as they were trained; the engine then computes what JAX does."""

    name = "gguf_f32"
    scheme = "f32"
    most_damage = 1e-6


for _format in (Gguf(), GgufQ4(), GgufF16(), GgufF32()):
    EXPORT_FORMATS.add(_format.name, _format)
