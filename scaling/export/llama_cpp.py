"""A trained student as the file that llama.cpp runs."""

from __future__ import annotations

import os

from scaling.compress.int8 import QuantizedStudent
from scaling.errors import ExportError
from scaling.formats.gguf import write_gguf
from scaling.predict.footprint import tokenizer_layout
from scaling.records import RunStore
from scaling.spec import RunSpec


def write_student(path: str | os.PathLike[str], student: QuantizedStudent, run: RunSpec, *, store: RunStore) -> int:
    """Write an int8 student as GGUF, with the tokenizer of its source and its run_id as its name.

    Args:
        path: File to write.
        student: Quantized as ``q8_0``, the int8 layout that GGUF has.
        run: What the student was trained as.
        store: Where the tokenizer of its source lies.

    Returns:
        Bytes written.

    Raises:
        ExportError: if the student has another layout, or does not fit the run.
    """
    if student.scheme != "q8_0":
        raise ExportError(
            f"GGUF has no int8 with zero points: the student is {student.scheme}, q8_0 is needed; "
            "quantize it with scheme q8_0"
        )
    layout = tokenizer_layout(run.data, store)
    return write_gguf(path, student.tensors, model=run.model, tokenizer=layout, name=run.run_id)
