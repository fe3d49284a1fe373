"""A bundle: the exported file of one student, and a manifest that says what it is and where it comes from.

A bundle appears completely or not at all. What was in its place before is moved aside, never deleted.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import FiniteFloat, StringConstraints, TypeAdapter, ValidationError

from scaling.accounting import DEFAULT_FORMAT, TokenizerLayout, count_parameters
from scaling.compress.degradation import degradation
from scaling.compress.student import QuantizedStudent, quantize
from scaling.data.evaluation import evaluation_sets
from scaling.errors import ExportError, RecordError
from scaling.export.format import EXPORT_FORMATS, ExportFormat, ReadBack
from scaling.files import file_hash, make_folder, read_json, write_folder, write_json
from scaling.formats.quantized import check_finite
from scaling.predict.footprint import tokenizer_layout
from scaling.records import RunStore
from scaling.spec import SCHEMA_VERSION, RunSpec
from scaling.stop import check_stop, interruptible

MODEL = "model"
"""Name of the exported file; its suffix is that of its format."""

MANIFEST_FILE = "manifest.json"
PACKAGES = ("scaling", "jax", "numpy")

Conflict = Literal["move", "refuse"]

FileName = Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$")]
"""Of a file inside a bundle: a manifest names nothing outside of its folder."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Size and content of one file of a bundle."""

    n_bytes: int
    blake2b: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says about itself.

    Attributes:
        run: The training that made the student.
        format: Name of the export format.
        scheme: int8 layout.
        loss_before: Loss of the float student, nats/token.
        loss_after: Loss of the int8 student on the same set.
        n_params_total: Stored parameters.
        tokenizer: Number of tokens, bos_id, eos_id and pre-tokenizer.
        files: Size and hash of every other file, by name.
        versions: Packages that wrote it.
    """

    run: RunSpec
    format: str
    scheme: str
    loss_before: FiniteFloat | None
    loss_after: FiniteFloat | None
    n_params_total: int
    tokenizer: Mapping[str, str | int]
    files: Mapping[FileName, FileFacts]
    versions: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        fields = {name: value for name, value in vars(self).items() if name not in ("run", "files")}
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run.run_id,
            "run": self.run.model_dump(mode="json"),
            "files": {name: asdict(facts) for name, facts in self.files.items()},
            **fields,
        }


@dataclass(frozen=True)
class Bundle:
    """An exported student on disk.

    Attributes:
        path: Its folder.
        manifest: What it says about itself.
        displaced: Where another bundle was moved that had been in its place; None if there was none.
    """

    path: Path
    manifest: Manifest
    displaced: Path | None = None

    @property
    def format(self) -> ExportFormat:
        """What wrote its file, and reads it."""
        return EXPORT_FORMATS[self.manifest.format]

    @property
    def model_path(self) -> Path:
        """The file that an engine loads."""
        return self.path / _model_file(self.format)

    def read(self) -> ReadBack:
        """The weights and tokens of its file.

        Raises:
            ExportError: if the file cannot be read, is of another model, or holds weights that are not finite.
        """
        found = self.format.read(self.model_path)
        if found.model != self.manifest.run.model:
            raise ExportError(
                f"{self.model_path}: is of another model than its manifest says; export the student again"
            )
        check_finite(found.tensors, what=str(self.model_path))
        return found


@interruptible()
def export(
    store: RunStore,
    run: RunSpec,
    folder: str | os.PathLike[str],
    *,
    format: str = DEFAULT_FORMAT,
    on_conflict: Conflict = "move",
) -> Bundle:
    """Quantize a trained student to int8, measure what that costs, and write its bundle.

    A bundle of the same run and format that is complete is opened, not made again.

    Args:
        store: Where the run was committed.
        run: The trained student.
        folder: The bundle's folder; its parent must exist or is created.
        format: Name of the export format.
        on_conflict: If the folder holds something else: ``move`` it beside, under its own run_id, or ``refuse``.

    Raises:
        ExportError: if the student holds weights that are not finite or cannot be exported, or something else is in the
            way and is not to be moved.
        TrainError: if it cannot be read.
    """
    writer = EXPORT_FORMATS[format]
    found = _existing(Path(folder))
    if found is not None and (found.manifest.run.run_id, found.manifest.format) == (run.run_id, format):
        return found
    if objection := writer.objection(run.model):
        raise ExportError(f"{format} cannot hold this model: {objection}; export it in another format")
    tensors = load_tensors(store, run)
    check_finite(tensors, what=f"the student of run {run.run_id}")
    check_stop()
    student = quantize(tensors, writer.scheme)
    # What int8 costs is measured before anything is written, so that no file exists without it.
    cost = degradation(run.model, tensors, student.dequantize(), evaluation_sets(run, store).real)
    return write_bundle(
        folder,
        student.with_loss(cost.before, cost.after),
        run,
        format=format,
        tokenizer=tokenizer_layout(run.data, store),
        on_conflict=on_conflict,
    )


def write_bundle(
    folder: str | os.PathLike[str],
    student: QuantizedStudent,
    run: RunSpec,
    *,
    tokenizer: TokenizerLayout,
    format: str = DEFAULT_FORMAT,
    on_conflict: Conflict = "move",
) -> Bundle:
    """Write the file and the manifest of an int8 student, in a folder that appears at once.

    Args:
        folder: The bundle's folder.
        student: Quantized with the scheme of the format.
        run: What it was trained as; its run_id becomes the student's name.
        tokenizer: What the file says about its tokens.
        format: Name of the export format.
        on_conflict: If the folder holds something else: ``move`` it beside, or ``refuse``.

    Raises:
        ExportError: if the folder holds something else and ``on_conflict`` is ``refuse``, or the student does not fit.
    """
    folder, writer = Path(folder), EXPORT_FORMATS[format]
    if folder.exists() and on_conflict == "refuse":
        raise ExportError(f"{folder}: something else is there, which is not overwritten; export to another folder")
    make_folder(folder.parent)
    displaced = None

    def fill(scratch: Path) -> None:
        nonlocal displaced
        path = scratch / _model_file(writer)
        writer.write(path, student, model=run.model, tokenizer=tokenizer, name=run.run_id)
        write_json(scratch / MANIFEST_FILE, _manifest(path, student, run, tokenizer, writer).plain())
        check_stop()
        # The last step: until the new bundle is whole, the old one stays where it is.
        displaced = _move_aside(folder) if folder.exists() else None

    if not write_folder(folder, fill):
        raise ExportError(f"{folder}: another export wrote there at the same time; run one of them again")
    return Bundle(folder, open_bundle(folder).manifest, displaced)


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and check that its files are what its manifest says.

    Raises:
        ExportError: if it is absent, damaged, or was changed.
    """
    folder = Path(folder)
    try:
        manifest = _from_plain(read_json(folder / MANIFEST_FILE))
    except (RecordError, ValidationError, TypeError) as error:
        raise ExportError(f"{folder}: not a bundle ({str(error).splitlines()[0]}); export the student again") from error
    for name, facts in manifest.files.items():
        if not (folder / name).is_file() or _facts(folder / name) != facts:
            raise ExportError(f"{folder / name}: is not the file that the manifest describes; export the student again")
    return Bundle(folder, manifest)


def _model_file(format: ExportFormat) -> str:
    return MODEL + format.suffix


def _existing(folder: Path) -> Bundle | None:
    """The bundle that is there, if it is whole."""
    try:
        return open_bundle(folder)
    except ExportError:
        return None


def _move_aside(folder: Path) -> Path:
    """Rename a folder to its name with the run_id of its bundle, or ``damaged``, and a number if that is taken."""
    found = _existing(folder)
    label = "damaged" if found is None else found.manifest.run.run_id
    names = (folder.with_name(f"{folder.name}-{label}{suffix}") for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    target = next(name for name in names if not name.exists())
    os.rename(folder, target)
    return target


def load_tensors(store: RunStore, run: RunSpec) -> dict[str, np.ndarray]:
    """The float weights of a trained student by tensor name."""
    from scaling.train.checkpoint import load_student
    from scaling.train.model import to_tensors

    return to_tensors(load_student(store.student_dir(run.run_id), run.model))


def _manifest(
    path: Path, student: QuantizedStudent, run: RunSpec, tokenizer: TokenizerLayout, writer: ExportFormat
) -> Manifest:
    return Manifest(
        run=run,
        format=writer.name,
        scheme=student.scheme,
        loss_before=student.loss_before,
        loss_after=student.loss_after,
        n_params_total=count_parameters(run.model).n_params_total,
        tokenizer={
            "n_tokens": len(tokenizer.tokens),
            "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id,
            "pre": tokenizer.pre,
        },
        files={path.name: _facts(path)},
        versions={"python": platform.python_version()}
        | {name: metadata.version(name) for name in (*PACKAGES, *writer.packages)},
    )


_READER = TypeAdapter(Manifest)


def _from_plain(plain: Any) -> Manifest:
    """A manifest from its JSON values, every one of them checked."""
    if not isinstance(plain, dict) or plain.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(f"its manifest is not of schema version {SCHEMA_VERSION}, which this program reads")
    fields = {name: value for name, value in plain.items() if name not in ("schema_version", "run_id")}
    return _READER.validate_python({"format": "gguf"} | fields)  # there was one format before manifests named it


def _facts(path: Path) -> FileFacts:
    return FileFacts(n_bytes=path.stat().st_size, blake2b=file_hash(path))
