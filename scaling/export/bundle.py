"""A bundle: the exported file of one student, and a manifest that says what it is and where it comes from.

A bundle appears completely or not at all. What was in its place before is moved aside, never deleted.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from scaling.accounting import TokenizerLayout, count_parameters
from scaling.compress.degradation import degradation
from scaling.compress.int8 import QuantizedStudent, quantize
from scaling.data.evaluation import evaluation_sets
from scaling.errors import ExportError, RecordError
from scaling.export.llama_cpp import write_student
from scaling.files import read_json, write_json
from scaling.predict.footprint import tokenizer_layout
from scaling.records import RunStore
from scaling.spec import SCHEMA_VERSION, RunSpec

MODEL_FILE = "model.gguf"
MANIFEST_FILE = "manifest.json"
PACKAGES = ("scaling", "gguf", "jax", "numpy")

Conflict = Literal["move", "refuse"]


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
        scheme: int8 layout.
        loss_before: Loss of the float student, nats/token.
        loss_after: Loss of the int8 student on the same set.
        n_params_total: Stored parameters.
        tokenizer: Number of tokens, bos_id, eos_id and pre-tokenizer.
        files: Size and hash of every other file, by name.
        versions: Packages that wrote it.
    """

    run: RunSpec
    scheme: str
    loss_before: float | None
    loss_after: float | None
    n_params_total: int
    tokenizer: Mapping[str, str | int]
    files: Mapping[str, FileFacts]
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
    def model_path(self) -> Path:
        """The file that an engine loads."""
        return self.path / MODEL_FILE


def export(store: RunStore, run: RunSpec, folder: str | os.PathLike[str], *, on_conflict: Conflict = "move") -> Bundle:
    """Quantize a trained student to int8, measure what that costs, and write its bundle.

    A bundle of the same run that is complete is opened, not made again.

    Args:
        store: Where the run was committed.
        run: The trained student.
        folder: The bundle's folder; its parent must exist or is created.
        on_conflict: If the folder holds something else: ``move`` it beside, under its own run_id, or ``refuse``.

    Raises:
        ExportError: if the student cannot be read or exported, or something else is in the way and is not to be moved.
    """
    found = _existing(Path(folder))
    if found is not None and found.manifest.run.run_id == run.run_id:
        return found
    tensors = load_tensors(store, run)
    student = quantize(tensors, "q8_0")
    cost = degradation(run.model, tensors, student.dequantize(), evaluation_sets(run, store).real)
    return write_bundle(folder, student.with_loss(cost.before, cost.after), run, store=store, on_conflict=on_conflict)


def write_bundle(
    folder: str | os.PathLike[str],
    student: QuantizedStudent,
    run: RunSpec,
    *,
    store: RunStore,
    on_conflict: Conflict = "move",
) -> Bundle:
    """Write the file and the manifest of an int8 student, in a folder that appears at once.

    Raises:
        ExportError: if the folder holds something else and ``on_conflict`` is ``refuse``, or the student does not fit.
    """
    folder = Path(folder)
    if folder.exists() and on_conflict == "refuse":
        raise ExportError(f"{folder}: something else is there, which is not overwritten; export to another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a process of this number that was killed
    scratch.mkdir()
    try:
        write_student(scratch / MODEL_FILE, student, run, store=store)
        manifest = _manifest(scratch, student, run, tokenizer_layout(run.data, store))
        write_json(scratch / MANIFEST_FILE, manifest.plain())
        displaced = _move_aside(folder) if folder.exists() else None
        os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Bundle(folder, manifest, displaced)


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and check that its files are what its manifest says.

    Raises:
        ExportError: if it is absent, damaged, or was changed.
    """
    folder = Path(folder)
    try:
        plain = read_json(folder / MANIFEST_FILE)
        manifest = _from_plain(plain)
    except (RecordError, ValidationError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{folder}: not a bundle ({str(error).splitlines()[0]}); export the student again") from error
    for name, facts in manifest.files.items():
        if not (folder / name).is_file() or _facts(folder / name) != facts:
            raise ExportError(f"{folder / name}: is not the file that the manifest describes; export the student again")
    return Bundle(folder, manifest)


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
    """The float weights of a trained student under their GGUF names."""
    from scaling.train.checkpoint import load_student
    from scaling.train.model import to_tensors

    return to_tensors(load_student(store.student_dir(run.run_id), run.model))


def _manifest(folder: Path, student: QuantizedStudent, run: RunSpec, tokenizer: TokenizerLayout) -> Manifest:
    return Manifest(
        run=run,
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
        files={MODEL_FILE: _facts(folder / MODEL_FILE)},
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
    )


def _from_plain(plain: dict[str, Any]) -> Manifest:
    if plain["schema_version"] != SCHEMA_VERSION:
        raise RecordError(f"schema version {plain['schema_version']}, this program reads {SCHEMA_VERSION}")
    fields = {name: value for name, value in plain.items() if name not in ("schema_version", "run_id")}
    fields["run"] = RunSpec.model_validate(fields["run"])
    fields["files"] = {name: FileFacts(**facts) for name, facts in fields["files"].items()}
    return Manifest(**fields)


def _facts(path: Path) -> FileFacts:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return FileFacts(n_bytes=path.stat().st_size, blake2b=digest)
