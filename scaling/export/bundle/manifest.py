"""What a bundle says about itself, in ``manifest.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import FiniteFloat, StringConstraints, TypeAdapter

from scaling.errors import RecordError
from scaling.export.bundle.provenance import Provenance
from scaling.files import file_hash, read_json, write_json
from scaling.spec import SCHEMA_VERSION, ModelSpec

MANIFEST_FILE = "manifest.json"

FileName = Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$")]
"""Of a file inside a bundle: a manifest names nothing outside of its folder."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Size and content of one file of a bundle."""

    n_bytes: int
    blake2b: str

    @classmethod
    def of(cls, path: Path) -> FileFacts:
        """Those of a file that is there."""
        return cls(n_bytes=path.stat().st_size, blake2b=file_hash(path))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says about itself.

    Attributes:
        run_id: The training that made the student.
        model: Its sizes.
        format: Name of the export format.
        scheme: How its matrices are stored.
        loss_before: Loss of the float student, nats/token.
        loss_after: Loss of the stored student on the same set.
        n_params_total: Stored parameters.
        tokenizer: Number of tokens, bos_id, eos_id and pre-tokenizer.
        files: Size and hash of every file that a phone needs, by name.
        versions: Packages that wrote it.
        provenance: Where the student comes from; None in bundles of before 2026-11-26.
    """

    run_id: str
    model: ModelSpec
    format: str
    scheme: str
    loss_before: FiniteFloat | None
    loss_after: FiniteFloat | None
    n_params_total: int
    tokenizer: Mapping[str, str | int]
    files: Mapping[FileName, FileFacts]
    versions: Mapping[str, str]
    provenance: Provenance | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            **vars(self),
            "model": self.model.model_dump(mode="json"),
            "files": {name: asdict(facts) for name, facts in self.files.items()},
            "provenance": None if self.provenance is None else asdict(self.provenance),
        }


_READER = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle, every value of it checked.

    Raises:
        RecordError: it is absent or of another version.
        ValidationError: a value is not what it must be.
    """
    plain = read_json(folder / MANIFEST_FILE)
    if not isinstance(plain, dict) or plain.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(f"its manifest is not of schema version {SCHEMA_VERSION}, which this program reads")
    fields = {name: value for name, value in plain.items() if name != "schema_version"}
    # Manifests of before held the whole specification of the run, and named no format while there was one.
    run = fields.pop("run", None)
    if isinstance(run, dict):
        fields = {"format": "gguf", "model": run.get("model")} | fields
    return _READER.validate_python(fields)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a bundle."""
    write_json(folder / MANIFEST_FILE, manifest.plain())
