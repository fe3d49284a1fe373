"""What an export format is: a way to write a quantized student into one file, and to read it back.

A format is one class in ``scaling/export/formats/``, or in another package under the entry point group
``scaling.export_formats``. The bytes that its file takes are known before there is one, and stand under the same name
in ``scaling.accounting.STORED_FORMATS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scaling.accounting import STORED_FORMATS, StoredFormat, TokenizerLayout
from scaling.compress.student import QuantizedStudent
from scaling.errors import ExportError
from scaling.formats.student import StudentFile
from scaling.registry import Registry
from scaling.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class About:
    """What a file says of its student for people, whatever its format.

    Attributes:
        run_id: The training that made it.
        name: A few words.
        description: A sentence or two.
        license: An SPDX name.
        text: What it was trained on.
    """

    run_id: str
    name: str
    description: str
    license: str
    text: str


class ExportFormat(ABC):
    """One file format.

    Attributes:
        name: As in a sweep file, and in ``STORED_FORMATS``.
        suffix: Of its files.
        scheme: Quantization scheme of its matrices.
        most_damage: nats/token that storing them so may cost; more is a fault, and not the price of the format.
        packages: That write it; their versions stand in the manifest.
        command: One line that runs a bundle, typed in its folder; ``{file}`` is its file, ``{prompt}`` a beginning.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    scheme: ClassVar[str]
    most_damage: ClassVar[float] = 0.005
    packages: ClassVar[tuple[str, ...]] = ()
    command: ClassVar[str] = ""

    @property
    def stored(self) -> StoredFormat:
        """What is known of its files before there is one."""
        return STORED_FORMATS[self.name]

    def bytes_of(self, model: ModelSpec, tokenizer: TokenizerLayout) -> int:
        """Exact size of the file of a student."""
        return self.stored.bytes_of(model, tokenizer, self.stored.storage)

    def objection(self, model: ModelSpec) -> str | None:
        """Why this format cannot hold a model, or None if it can: asked before anything is computed."""
        return None

    def check_scheme(self, student: QuantizedStudent) -> None:
        """Refuse a student that is stored otherwise.

        Raises:
            ExportError: naming both schemes.
        """
        if student.scheme != self.scheme:
            raise ExportError(
                f"{self.name} stores matrices as {self.scheme}: the student is {student.scheme}; quantize it with "
                f"scheme {self.scheme}"
            )

    @abstractmethod
    def write(
        self, path: Path, student: QuantizedStudent, *, model: ModelSpec, tokenizer: TokenizerLayout, about: About
    ) -> None:
        """Write a student quantized with ``scheme``, completely or not at all.

        Args:
            path: File to write; replaced if it exists.
            student: The weights.
            model: Sizes of the model.
            tokenizer: What the file says about its tokens.
            about: What the file says of it for people.

        Raises:
            ExportError: if the weights or the tokenizer do not fit the model or the format.
        """

    @abstractmethod
    def read(self, path: Path) -> StudentFile:
        """Read a file as an engine does.

        Raises:
            ExportError: if it is absent, damaged or hostile, or says something that no student can do.
        """


EXPORT_FORMATS: Registry[ExportFormat] = Registry(
    "export format", package="scaling.export.formats", group="scaling.export_formats", error=ExportError
)
