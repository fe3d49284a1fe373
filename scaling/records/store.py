"""The results folder: where records are built, published, checked, and found again."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scaling.errors import RecordError
from scaling.files import clear_errors, file_hash, make_folder, publish_folder, read_json, remove_folder, write_json
from scaling.records.outcome import Outcome, RunRecord
from scaling.spec import SCHEMA_VERSION, RunSpec
from scaling.spec.schema import canonical_json, short_hash
from scaling.tables.files import FORMER_NAMES

RESERVED_NAMES = frozenset(
    ("calibration.json", "claims", "corpora", "drafts", "ledger.csv", "logs", "reference", "runs", "schema.json")
    + ("superseded", "trunks", "README.md")
)
"""Names in a results folder that belong to the program; no sweep may be called so."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_DESCRIBED = ("config.json", "env.json", "result.json")
"""Files of a record that say what they are; of all others result.json keeps size and hash."""


def _unclaimed() -> None:
    """The fence of a store that nobody else writes to."""


def check_name(name: str) -> str:
    """The name of a sweep's folder in a results folder, as it was given.

    Raises:
        RecordError: if it would lead elsewhere, or mix with what the program keeps there.
    """
    if not _NAME.fullmatch(name):
        what = "letters, digits, and . _ - after the first, at most 100"
        raise RecordError(f"the name of a sweep: got {name[:120]!r}, allowed are {what} — name it otherwise")
    # Some file systems do not tell Runs from runs.
    if name.lower() in {taken.lower() for taken in RESERVED_NAMES}:
        taken = ", ".join(sorted(RESERVED_NAMES))
        raise RecordError(f"got {name!r}, which the results folder needs itself ({taken}) — name the sweep otherwise")
    return name


class RunStore:
    """The results folder.

    Opening a folder of another schema version raises; nothing in it is touched.

    Args:
        root: The folder.
        fence: Called right before each step that others would see; raises where somebody else owns the run by now.
    """

    def __init__(self, root: str | os.PathLike[str], *, fence: Callable[[], None] = _unclaimed):
        self.root, self.fence = Path(root), fence
        _check_schema(self.root)

    def fenced(self, fence: Callable[[], None]) -> RunStore:
        """The same folder for the owner of a claim, which ``fence`` makes sure of."""
        return RunStore(self.root, fence=fence)

    def prepare(self) -> RunStore:
        """Create the folder and its version mark where they do not exist."""
        make_folder(self.root)
        marker = self.root / "schema.json"
        if not marker.exists():
            write_json(marker, {"schema_version": SCHEMA_VERSION})
        return self

    def run_dir(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def trunk_dir(self, trunk_id: str) -> Path:
        return self.root / "trunks" / trunk_id

    def student_dir(self, run_id: str) -> Path:
        return self.run_dir(run_id) / "student"

    def log_path(self, run_id: str) -> Path:
        """Where attempts at a run and their errors are written down."""
        return self.root / "logs" / f"{run_id}.txt"

    def has(self, run_id: str) -> bool:
        """True once a result is committed, whatever its status."""
        return (self.run_dir(run_id) / "result.json").exists()

    def draft(self, run_id: str) -> Path:
        """A new folder for what belongs to a record besides its JSON files: the student, the training log."""
        return make_folder(self.root / "drafts" / f"{run_id}.{secrets.token_hex(4)}")

    def clear_drafts(self, run_id: str) -> None:
        """Remove what processes that died were writing; only for the owner of the run's claim."""
        for folder in (self.root / "drafts").glob(f"{run_id}.*"):
            self.fence()
            remove_folder(folder)

    def commit(self, record: RunRecord, draft: Path | None = None) -> RunRecord:
        """Publish a record whole, and give the one that stands.

        The first result of a run stays; one that was measured takes the place of ``failed``.

        Args:
            record: Inputs and outcome.
            draft: Of :meth:`draft`, with the files that belong to the record; it is used up.

        Raises:
            Preempted: if the fence says that somebody else owns the run; nothing is published.
            MachineError: if this machine cannot write it; nothing is published.
        """
        run_id = record.spec.run_id
        draft = draft or self.draft(run_id)
        try:
            _describe(draft, record)
            make_folder(self.root / "runs")
            self.fence()
            # Something stands there already: it stays if it is whole and says as much, else it makes room.
            while not publish_folder(draft, self.run_dir(run_id)):
                # A failure is final to other failures alone; what is damaged is final to nobody.
                final = _is_whole if record.outcome.status == "failed" else _is_measured
                if final(self.run_dir(run_id)):
                    return self.load(run_id)
                self.fence()
                self.set_aside(run_id, unless=final)
        finally:
            remove_folder(draft)
        return record

    def set_aside(self, run_id: str, *, unless: Callable[[Path], bool] = lambda folder: False) -> None:
        """Move a run's folder under ``superseded/``, in one step; nothing is done where another did it already.

        Args:
            run_id: Which run.
            unless: Asked of the folder once it was moved: true puts it back. Whoever judged the run and then slept
                may have moved what another has published since.
        """
        # A name that nobody had before: at one that is taken, a missing source would look like one renamed already, and
        # an old record would be judged, and published again, in its place.
        moved = make_folder(self.root / "superseded") / f"{run_id}.{secrets.token_hex(8)}"
        try:
            with clear_errors():
                publish_folder(self.run_dir(run_id), moved)
        except FileNotFoundError:
            return
        if unless(moved):
            publish_folder(moved, self.run_dir(run_id))

    def load(self, run_id: str) -> RunRecord:
        """Read one committed run.

        Raises:
            RecordError: if the run is absent, or one of its files is damaged or foreign.
        """
        folder = self.run_dir(run_id)
        outcome, env = self.outcome(run_id), read_json(folder / "env.json")
        try:
            spec = RunSpec.model_validate(read_json(folder / "config.json"))
            outcome = replace(outcome, env=_ENV.validate_python(env))
        except ValidationError as error:
            raise RecordError(_unreadable(folder, error)) from error
        return RunRecord(spec=spec, outcome=outcome)

    def outcome(self, run_id: str) -> Outcome:
        """What a committed run measured, without its ``env``; of its log and its student the sizes alone are looked at.

        Raises:
            RecordError: if the run is absent, damaged or foreign.
        """
        if not self.run_dir(run_id).is_dir():
            raise RecordError(f"{run_id}: no run of that id in {self.root} — name a folder of {self.root / 'runs'}")
        found = _read_outcome(self.run_dir(run_id), thorough=False)
        _check_inputs(self.run_dir(run_id), run_id)
        return found

    def set_aside_torn(self, run_id: str) -> bool:
        """Move a record with damaged files away; only for the owner of the run's claim. False where none is."""
        if not self.has(run_id) or self.damage(run_id) is None:
            return False
        self.fence()
        self.set_aside(run_id, unless=_is_whole)
        return True

    def damage(self, run_id: str) -> str | None:
        """What is wrong with a committed run, in one sentence; None for a whole one. Its files are read and hashed.

        Another schema version or another run's inputs are not damage: :meth:`load` refuses them.
        """
        return damage_of(self.run_dir(run_id))

    def records(self, run_ids: Iterable[str] | None = None) -> Iterator[RunRecord]:
        """Committed runs, all of them or those named, in order of id or as named."""
        if run_ids is None:
            run_ids = sorted(path.parent.name for path in (self.root / "runs").glob("*/result.json"))
        return (self.load(run_id) for run_id in run_ids if self.has(run_id))


class ForeignRecord(RecordError):
    """A record, or a folder of them, that another version of the program wrote."""


def damage_of(folder: Path) -> str | None:
    """What is wrong with the files of a record, wherever it lies, in one sentence; None for a whole one."""
    try:
        _read_outcome(folder, thorough=True)
    except ForeignRecord:
        return None
    except RecordError as error:
        return str(error)
    return None


def _is_whole(folder: Path) -> bool:
    return damage_of(folder) is None


def _is_measured(folder: Path) -> bool:
    """True for a whole record that is not a failure."""
    return _is_whole(folder) and _read_outcome(folder, thorough=False).status != "failed"


def _describe(draft: Path, record: RunRecord) -> None:
    """Write the JSON files of a record beside what is in its draft."""
    outcome = asdict(record.outcome)
    write_json(draft / "config.json", json.loads(record.spec.canonical_json()))
    write_json(draft / "env.json", outcome.pop("env"))
    with clear_errors():
        paths = sorted(path for path in draft.rglob("*") if path.is_file() and path.name not in _DESCRIBED)
        files = {path.relative_to(draft).as_posix(): _signature(path) for path in paths}
    write_json(draft / "result.json", {"schema_version": SCHEMA_VERSION, **outcome, "files": files})


def _signature(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "blake2b": file_hash(path)}


@dataclass(frozen=True, kw_only=True)
class _Result(Outcome):
    """What result.json holds: the outcome, and what the other files must be; records of before name none."""

    schema_version: int
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


_RESULT, _ENV = TypeAdapter(_Result), TypeAdapter(dict[str, str])


def _read_outcome(folder: Path, *, thorough: bool) -> Outcome:
    """A run's outcome, its files compared by size, or all of them read.

    Raises:
        RecordError: if a file is absent, damaged, or not what the record says.
    """
    path = folder / "result.json"
    found = read_json(path)
    if not isinstance(found, dict) or "schema_version" not in found:
        raise RecordError(f"{path}: damaged, no result of a run; {_TRAIN_AGAIN}")
    if found["schema_version"] != SCHEMA_VERSION:
        raise ForeignRecord(_foreign(path, found["schema_version"]))
    renamed = {FORMER_NAMES.get(name, name): value for name, value in found.items()}
    try:
        # By way of JSON, whose types are few: a number is no text, true is no number.
        result = _RESULT.validate_json(json.dumps(renamed))
    except ValidationError as error:
        raise RecordError(_unreadable(path, error)) from error
    if result.loss is not None and not result.loss > 0:
        raise RecordError(f"{path}: damaged, loss: got {result.loss:g}, allowed is a number above 0; {_TRAIN_AGAIN}")
    for name in ("config.json", "env.json"):
        if thorough and not isinstance(read_json(folder / name), dict):
            raise RecordError(f"{folder / name}: damaged, not a JSON object; {_TRAIN_AGAIN}")
    for name, kept in result.files.items():
        _compare(folder / name, kept, thorough)
    return Outcome(**{one.name: getattr(result, one.name) for one in fields(Outcome)})


def _check_inputs(folder: Path, run_id: str) -> None:
    """Raise ForeignRecord where a record's inputs are not those of the run that its folder is named after."""
    config = read_json(folder / "config.json")
    # As a rule the file is the very text that the id is the hash of; only another spelling of it is validated.
    if isinstance(config, dict) and short_hash(canonical_json(config)) == run_id:
        return
    try:
        described = RunSpec.model_validate(config).run_id
    except ValidationError as error:
        raise ForeignRecord(_unreadable(folder, error)) from error
    if described != run_id:
        raise ForeignRecord(
            f"{folder}: config.json describes run {described}, not {run_id}; "
            "it was edited or moved: restore it, or move the folder away"
        )


def _compare(path: Path, kept: dict[str, Any], thorough: bool) -> None:
    """Raise RecordError for a file that is not what its record says."""
    try:
        found = path.stat()
    except OSError as error:
        raise RecordError(f"{path}: gone, though its record names it; {_TRAIN_AGAIN}") from error
    if found.st_size != kept.get("bytes"):
        raise RecordError(f"{path}: {found.st_size} bytes, its record says {kept.get('bytes')}; {_TRAIN_AGAIN}")
    if thorough and _hash_of(str(path), found.st_mtime_ns, found.st_size) != kept.get("blake2b"):
        raise RecordError(f"{path}: its content is not what its record says; {_TRAIN_AGAIN}")


_TRAIN_AGAIN = "move the run's folder away and it will be trained again"


@lru_cache(maxsize=1 << 16)
def _hash_of(path: str, _mtime_ns: int, _size: int) -> str:
    """The hash of a file; of one that did not change since it was looked at, without reading it again."""
    return file_hash(Path(path))


def _check_schema(root: Path) -> None:
    with clear_errors():
        if root.exists() and not root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))
    marker = root / "schema.json"
    if marker.exists():
        content = read_json(marker)
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise ForeignRecord(_foreign(marker, version))
    elif (root / "runs").is_dir():
        raise ForeignRecord(_foreign(marker, None))


def _unreadable(path: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{path}: damaged, {where}: {first['msg']}, got {str(first['input'])[:40]!r}; {_TRAIN_AGAIN}"


def _foreign(path: Path, version: Any) -> str:
    return (
        f"{path}: results of schema version {version}, this program reads version {SCHEMA_VERSION}; "
        "nothing was changed — name another results folder with --results, or use the program that wrote it"
    )
