"""A bundle: everything that a phone needs to run one student, and what it is and where it comes from.

``model.*`` is the exported file, ``tokenizer.json`` for programs that cut text themselves, ``manifest.json`` says
sizes, hashes and provenance, ``README.md`` is the model card. A bundle appears completely or not at all; what was in
its place before is moved aside, never deleted.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import ValidationError

from scaling.accounting import DEFAULT_FORMAT, TokenizerLayout, count_parameters
from scaling.compress.degradation import degradation
from scaling.compress.student import QuantizedStudent, quantize
from scaling.data.evaluation import evaluation_sets
from scaling.errors import ExportError, RecordError
from scaling.export.bundle.card import CARD_FILE, card, verified_part
from scaling.export.bundle.manifest import FileFacts, Manifest, read_manifest, write_manifest
from scaling.export.bundle.provenance import UNSAID, Provenance, about, provenance_of, said_anew
from scaling.export.bundle.tokenizer_json import TOKENIZER_FILE, tokenizer_json
from scaling.export.findings import Check
from scaling.export.format import EXPORT_FORMATS, ExportFormat
from scaling.files import make_folder, to_json, write_bytes, write_folder, write_json
from scaling.formats.quantized import check_finite
from scaling.formats.student import StudentFile
from scaling.predict.phones.footprint import tokenizer_layout
from scaling.predict.recommend.recommendation import Recommendation
from scaling.records import RunStore
from scaling.spec import ModelSpec, RunSpec
from scaling.stop import check_stop, interruptible

if TYPE_CHECKING:
    from scaling.fit.result import Fit

MODEL = "model"
"""Name of the exported file; its suffix is that of its format."""

PACKAGES = ("scaling", "jax", "numpy")

Conflict = Literal["move", "refuse"]


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

    @property
    def moved(self) -> str | None:
        """What was moved aside to make room, in a sentence; None where nothing was."""
        if self.displaced is None:
            return None
        return (
            f"{self.path} held another student, or files that its manifest did not describe: moved to {self.displaced}"
        )

    def read(self) -> StudentFile:
        """The weights and tokens of its file.

        Raises:
            ExportError: if the file cannot be read, is of another model, or holds weights that are not finite.
        """
        found = self.format.read(self.model_path)
        if found.model != self.manifest.model:
            raise ExportError(
                f"{self.model_path}: is of another model than its manifest says; export the student again"
            )
        check_finite(found.tensors, what=str(self.model_path))
        return found

    def describe(self, checks: Sequence[Check] | str = ()) -> None:
        """Write the model card anew, with what was measured in an engine, or with that part of an older card."""
        tokenizer = self.format.read(self.model_path).tokenizer
        text = card(self.manifest, _command(self.format, self.manifest, tokenizer), checks)
        write_bytes(self.path / CARD_FILE, text.encode())

    def of(self, provenance: Provenance) -> Bundle:
        """The bundle with another provenance in its manifest and card; the file and its tokens stay."""
        found, before = replace(self, manifest=replace(self.manifest, provenance=provenance)), self.manifest.provenance
        # What an engine measured stands beside the forecast that it was held against, and beside no other.
        same = before is not None and (before.asked, before.fit) == (provenance.asked, provenance.fit)
        path = self.path / CARD_FILE
        # The manifest last: where this ends before, the next export sees that there is something to do.
        found.describe(verified_part(path.read_text("utf-8")) if same and path.exists() else ())
        write_manifest(self.path, found.manifest)
        return found


@interruptible()
def export(
    store: RunStore,
    run: RunSpec,
    folder: str | os.PathLike[str],
    *,
    format: str = DEFAULT_FORMAT,
    on_conflict: Conflict = "move",
    recommendation: Recommendation | None = None,
    fit: Fit | None = None,
    license: str = UNSAID,
) -> Bundle:
    """Quantize a trained student, measure what that costs, and write its bundle.

    A bundle of the same run and format that is complete is opened, not made again; where something else is said of it
    now (a license, a question, a fit), its manifest and card are written anew.

    Args:
        store: Where the run was committed.
        run: The trained student.
        folder: The bundle's folder; its parent must exist or is created.
        format: Name of the export format.
        on_conflict: If the folder holds something else: ``move`` it beside, under its own run_id, or ``refuse``.
        recommendation: What asked for the student, for its provenance.
        fit: What that forecast from.
        license: Of the student, an SPDX name.

    Raises:
        ExportError: if the student holds weights that are not finite or cannot be exported, or something else is in the
            way and is not to be moved.
        TrainError: if it cannot be read.
    """
    writer = EXPORT_FORMATS[format]
    found = _existing(Path(folder))
    if found is not None and _is_of(found.manifest, run, format):
        told = provenance_of(store.load(run.run_id), store, recommendation=recommendation, fit=fit, license=license)
        told = said_anew(told, found.manifest.provenance)
        return found if _plain(told) == _plain(found.manifest.provenance) else found.of(told)
    if objection := writer.objection(run.model):
        raise ExportError(f"{format} cannot hold this model: {objection}; export it in another format")
    tensors = load_tensors(store, run)
    check_finite(tensors, what=f"the student of run {run.run_id}")
    check_stop()
    student = quantize(tensors, writer.scheme)
    # What storing it so costs is measured before anything is written, so that no file exists without it.
    cost = degradation(run.model, tensors, student.dequantize(), evaluation_sets(run, store).real)
    record = store.load(run.run_id)
    return write_bundle(
        folder,
        student.with_loss(cost.before, cost.after),
        run.model,
        run_id=run.run_id,
        format=format,
        tokenizer=tokenizer_layout(run.data, store),
        provenance=provenance_of(record, store, recommendation=recommendation, fit=fit, license=license),
        on_conflict=on_conflict,
    )


def write_bundle(
    folder: str | os.PathLike[str],
    student: QuantizedStudent,
    model: ModelSpec,
    *,
    run_id: str,
    tokenizer: TokenizerLayout,
    provenance: Provenance,
    format: str = DEFAULT_FORMAT,
    on_conflict: Conflict = "move",
) -> Bundle:
    """Write the files of a quantized student, in a folder that appears at once.

    Args:
        folder: The bundle's folder.
        student: Quantized with the scheme of the format.
        model: Its sizes.
        run_id: The training that made it.
        tokenizer: What the file says about its tokens.
        provenance: Where it comes from.
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
        writer.write(path, student, model=model, tokenizer=tokenizer, about=about(run_id, provenance))
        write_json(scratch / TOKENIZER_FILE, tokenizer_json(tokenizer))
        manifest = Manifest(
            run_id=run_id,
            model=model,
            format=writer.name,
            scheme=student.scheme,
            loss_before=student.loss_before,
            loss_after=student.loss_after,
            n_params_total=count_parameters(model).n_params_total,
            tokenizer=_token_facts(tokenizer),
            files={one.name: FileFacts.of(one) for one in (path, scratch / TOKENIZER_FILE)},
            versions=_versions(writer),
            provenance=provenance,
        )
        write_manifest(scratch, manifest)
        write_bytes(scratch / CARD_FILE, card(manifest, _command(writer, manifest, tokenizer)).encode())
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
        manifest = read_manifest(folder)
    except (RecordError, ValidationError, TypeError) as error:
        raise ExportError(f"{folder}: not a bundle ({str(error).splitlines()[0]}); export the student again") from error
    for name, facts in manifest.files.items():
        if not (folder / name).is_file() or FileFacts.of(folder / name) != facts:
            raise ExportError(f"{folder / name}: is not the file that the manifest describes; export the student again")
    return Bundle(folder, manifest)


def _model_file(format: ExportFormat) -> str:
    return MODEL + format.suffix


def _is_of(manifest: Manifest, run: RunSpec, format: str) -> bool:
    """Whether a bundle is of the student of a run; a pruned one is another student."""
    is_pruned = manifest.provenance is not None and bool(manifest.provenance.pruned)
    return (manifest.run_id, manifest.format, is_pruned) == (run.run_id, format, False)


def _plain(provenance: Provenance | None) -> bytes:
    """As a manifest holds it, where a list is what a tuple was."""
    return to_json(None if provenance is None else asdict(provenance))


def _existing(folder: Path) -> Bundle | None:
    """The bundle that is there, if it is whole."""
    try:
        return open_bundle(folder)
    except ExportError:
        return None


def _move_aside(folder: Path) -> Path:
    """Rename a folder to its name with the run_id of its bundle, or ``damaged``, and a number if that is taken."""
    found = _existing(folder)
    label = "damaged" if found is None else found.manifest.run_id
    names = (folder.with_name(f"{folder.name}-{label}{suffix}") for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    target = next(name for name in names if not name.exists())
    os.rename(folder, target)
    return target


def load_tensors(store: RunStore, run: RunSpec) -> dict[str, np.ndarray]:
    """The float weights of a trained student by tensor name."""
    from scaling.train.checkpoint import load_student
    from scaling.train.student.model import to_tensors

    return to_tensors(load_student(store.student_dir(run.run_id), run.model))


def _command(writer: ExportFormat, manifest: Manifest, tokenizer: TokenizerLayout) -> str:
    """One line that runs the bundle."""
    return writer.command.format(file=_model_file(writer), context=manifest.model.context, prompt=beginning(tokenizer))


def beginning(tokenizer: TokenizerLayout) -> str:
    """Of a text, as its tokens can spell one."""
    return "The " if "Ġ" in tokenizer.tokens or len(tokenizer.tokens) > 256 else "!A"


def _token_facts(tokenizer: TokenizerLayout) -> dict[str, str | int]:
    return {
        "n_tokens": len(tokenizer.tokens),
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "pre": tokenizer.pre,
    }


def _versions(writer: ExportFormat) -> dict[str, str]:
    packages = {name: metadata.version(name) for name in (*PACKAGES, *writer.packages)}
    return {"python": platform.python_version()} | packages
