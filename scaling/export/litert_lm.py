"""A student as LiteRT-LM takes it, Google's engine for language models on phones: one .litertlm file.

The file holds the programs that the engine calls, the tokenizer, and what it must know of tokens. It is kept once the
engine has opened it, cut texts with it as the student does, and written what LiteRT writes from the same weights.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.compress.student import quantize
from scaling.data.tokenizers import import_tokenizers
from scaling.errors import EngineError, ExportError
from scaling.export.bundle.files import Bundle, beginning
from scaling.export.bundle.tokenizer_json import TOKENIZER_FILE
from scaling.export.child import WORKERS, run_child
from scaling.export.engine import ENGINES
from scaling.export.formats.litert import convert
from scaling.export.hostile import hostile_texts
from scaling.export.interpreters import LITERT_LM
from scaling.export.litert_program import session_programs
from scaling.files import write_file
from scaling.formats.student import StudentFile

STORED = {"litert": True, "litert_f32": False}
"""Whether matrices are int8, by the export format of the bundle."""

WORKER = WORKERS / "litert_lm_worker.py"

RUN_S = 300.0
"""Longest wait for the engine, s."""


@dataclass(frozen=True, kw_only=True)
class LiteRtLmFile:
    """A file that the engine has run.

    Attributes:
        path: Where it is.
        engine: Name and version.
        n_bytes: Of the file.
        texts_equal: Texts that the engine cuts as the student does, of all tried. It ends a text at a NUL byte, and
            takes the spelling of a control token for that token, which the student never does.
        written: What it wrote, as LiteRT does.
    """

    path: Path
    engine: str
    n_bytes: int
    texts_equal: tuple[int, int]
    written: str


def export_litert_lm(bundle: Bundle, path: Path) -> LiteRtLmFile:
    """Write the file of a bundle's student for LiteRT-LM, completely or not at all.

    Args:
        bundle: In a format of ``STORED``.
        path: File to write.

    Raises:
        ExportError: the bundle is in another format, the packages are missing, or the engine writes otherwise than
            LiteRT does.
    """
    if bundle.manifest.format not in STORED:
        raise ExportError(
            f"LiteRT-LM runs what LiteRT does, and the bundle is {bundle.manifest.format} — export it as "
            f"{' or '.join(STORED)}, as --format litert"
        )
    file, texts = bundle.read(), hostile_texts()
    prompt = beginning(file.tokenizer)
    found: dict[str, Any] = {}
    try:
        # What is missing is said before anything is converted.
        engine = f"{LITERT_LM.title} {LITERT_LM.version('litert-lm-api')}"
        begun, *ours = ENGINES["litert"].tokenize(bundle.model_path, [prompt, *texts])
        expected = _continued(bundle, [file.tokenizer.bos_id, *begun], file)

        def write(draft: Path) -> None:
            found.update(_packed(draft, bundle, file, prompt=prompt, texts=texts))
            _check(found["text"], expected, engine)

        write_file(path, write)
    except EngineError as error:
        raise ExportError(f"no .litertlm file was made: {error}") from error
    equal = sum(theirs == own for theirs, own in zip(found["tokenized"], ours, strict=True))
    return LiteRtLmFile(
        path=path, engine=engine, n_bytes=path.stat().st_size, texts_equal=(equal, len(texts)), written=found["text"]
    )


def _continued(bundle: Bundle, prompt: list[int], file: StudentFile) -> str:
    """What LiteRT writes greedily until the document ends or the cache is full."""
    context = file.model.context
    run = ENGINES["litert"].run(bundle.model_path, prompt, n_tokens=context - len(prompt), context=context, repeats=0)
    written = [*run.token_ids, file.tokenizer.eos_id]
    cut = import_tokenizers().Tokenizer.from_file(str(bundle.path / TOKENIZER_FILE))
    return str(cut.decode(written[: written.index(file.tokenizer.eos_id)]))


def _packed(draft: Path, bundle: Bundle, file: StudentFile, *, prompt: str, texts: Sequence[str]) -> dict[str, Any]:
    """The file, and what the engine did with it."""
    is_int8, tokenizer = STORED[bundle.manifest.format], file.tokenizer
    student = quantize(file.tensors, bundle.format.scheme)
    with tempfile.TemporaryDirectory() as folder:
        tflite = Path(folder) / "model.tflite"
        convert(tflite, session_programs(file.model, student.tensors), int8=is_int8)
        job: dict[str, Any] = {
            # The engine tells files by their suffix, which a draft has not.
            "path": str(Path(folder) / "student.litertlm"),
            "tflite": str(tflite),
            "tokenizer": str(bundle.path / TOKENIZER_FILE),
            "metadata": str(Path(folder) / "metadata.pb"),
            "cache_dir": folder,
            "context": file.model.context,
            "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id,
            "about": dict(file.about),
            "prompt": prompt,
            "texts": list(texts),
        }
        answer = run_child(WORKER, job, engine=LITERT_LM.title, timeout_s=RUN_S, python=LITERT_LM.path)
        shutil.copyfile(job["path"], draft)
        return answer


def _check(told: str, expected: str, engine: str) -> None:
    """Refuse what is written otherwise; half a character at the end is told by neither or by one of them.

    Raises:
        ExportError: with both texts.
    """
    told, expected = (text.rstrip("\ufffd") for text in (told, expected))
    same = told.startswith(expected) or expected.startswith(told)
    # Nothing is the beginning of every text.
    if not same or bool(told) != bool(expected):
        raise ExportError(
            f"{engine} writes {told!r} with these weights, where LiteRT writes {expected!r}; none was kept"
        )
