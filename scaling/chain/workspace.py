"""A sweep, and the folders that its stages read and write."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.config.document import read_document, to_yaml
from scaling.config.load import load_sweep, open_sweep
from scaling.config.sweep import SweepConfig
from scaling.errors import ConfigError, RecordError, ScalingError
from scaling.files import RESULTS, locked, write_bytes
from scaling.records import RunStore
from scaling.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

RECOMMENDATION = "recommendation.json"
RESOLVED = "sweep.yaml"

_FROM = "# includes and --set applied to "


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A sweep, and the folders that its stages read and write.

    Attributes:
        config: The sweep file.
        overrides: ``--set`` of the command line.
        runs: What it expands to.
        store: The results folder.
    """

    config: SweepConfig
    overrides: tuple[str, ...]
    runs: tuple[RunSpec, ...]
    store: RunStore

    @classmethod
    def open(
        cls,
        file: str | os.PathLike[str],
        *,
        results: str | os.PathLike[str] | None = None,
        overrides: Sequence[str] = (),
    ) -> Workspace:
        """Read a sweep file, or the one that an earlier stage left in a sweep's results folder.

        Args:
            file: The sweep file, or a sweep's folder.
            results: The results folder; None for the one around a sweep's folder, else `results`.
            overrides: ``--set`` of the command line.

        Raises:
            ConfigError: the file is absent, or says what no sweep can.
            RecordError: its path or that of the results is not UTF-8, or the results are another version's.
        """
        path = Path(file)
        path = _in_folder(path) if path.is_dir() else path
        # Said by name or found around the file; both paths are typed again in commands that are printed.
        root = (results_around(path) or RESULTS) if results is None else Path(results)
        for one in (path, root):
            _require_text(one)
        sweep = open_sweep(path, overrides)
        store = RunStore(root)
        return cls(config=sweep.config, overrides=tuple(overrides), runs=sweep.runs, store=store)

    @property
    def folder(self) -> Path:
        """Where the stages of the sweep write."""
        return self.store.root / self.config.name

    @property
    def table_path(self) -> Path:
        """The runs table that the fit is made of."""
        return self.folder / "runs.parquet"

    @property
    def fit_path(self) -> Path:
        """The fit of the sweep's runs."""
        return self.folder / "fit.json"

    @property
    def recommendation_path(self) -> Path:
        """What was recommended from that fit."""
        return self.folder / RECOMMENDATION

    def command(self, verb: str) -> str:
        """A command line that works on this sweep as it was opened, to be typed as it is."""
        # Not every command takes --set: the file that `prepare` leaves holds what was set.
        file = self.folder / RESOLVED if self.overrides else Path(self.config.path or "")
        return f"{verb} {shlex.quote(str(file))}{results_option(self.store.root, beside=file)}"

    def no_finished_run(self, aim: str) -> RecordError:
        """The error of a stage that finds nothing trained.

        Args:
            aim: What it would do with a run, as ``fit``.
        """
        return RecordError(f"{self.folder}: no finished run to {aim} — train first: {self.command('scaling sweep')}")

    def of_its_text(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table in its folder whose students read what the sweep reads.

        Such a table keeps what was measured before the file was changed. Runs that nobody has are taken as they are.
        """
        from scaling.predict.measured import of_text_read

        return of_text_read(table, self.runs, self.store)

    def prepare(self) -> Workspace:
        """Create the sweep's folder, with its resolved file (includes and ``--set`` applied) for later commands.

        Raises:
            RecordError: the folder holds the results of another file of the same name.
        """
        self.store.prepare()
        self.folder.mkdir(parents=True, exist_ok=True)
        path, resolved = Path(self.config.path or "sweep"), self.folder / RESOLVED
        if resolved.exists() and path.resolve() == resolved.resolve():
            return self
        text = to_yaml(self.config.document.values)
        first, _, rest = resolved.read_text("utf-8").partition("\n") if resolved.exists() else ("", "", "")
        if first.startswith(_FROM) and rest == text:
            return self
        if first.startswith(_FROM):
            self._refuse_namesake(Path(first.removeprefix(_FROM)), path)
        write_bytes(resolved, f"{_FROM}{path.resolve()}\n{text}".encode())
        return self

    def asked_otherwise(self) -> str | None:
        """The sweep file behind the one that `prepare` left, where that asks another question; None where it does not.

        A command that changed the question, as ``run --target-loss``, leaves it to those after.
        """
        path = Path(self.config.path or "")
        first = path.read_text("utf-8").partition("\n")[0] if path.name == RESOLVED and path.is_file() else ""
        source = Path(first.removeprefix(_FROM))
        if not (first.startswith(_FROM) and source.is_file()):
            return None
        try:
            other = load_sweep(source)
        except ScalingError:
            return None
        return None if other.recommend == self.config.recommend else str(source)

    def _refuse_namesake(self, other: Path, path: Path) -> None:
        """Two sweep files of one name would overwrite each other's table, fit and recommendation."""
        if other.is_file() and not other.samefile(path) and _name_in(other) == self.config.name:
            raise RecordError(
                f"{self.folder}: holds the results of {other}, which has the name {self.config.name!r} as well; "
                "nothing was changed — give one of the two another name, or another results folder with --results"
            )

    @contextmanager
    def held(self, *, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold what the stages after training write; ``waits`` is called where another process has it."""
        with locked(self.folder / ".lock", waits=waits):
            yield


def results_around(file: Path) -> Path | None:
    """The results folder around what a stage left in a sweep's folder; None for a file that lies in none."""
    # A bare name has no folder to climb out of.
    around = (file if len(file.parts) > 1 else file.absolute()).parent.parent
    return around if (around / "schema.json").is_file() else None


def results_option(root: Path, *, beside: Path) -> str:
    """`` --results ROOT`` for a command line about a file, where the folder has to be said."""
    return f" --results {shlex.quote(str(root))}" if {root, results_around(beside) or RESULTS} != {RESULTS} else ""


def _in_folder(folder: Path) -> Path:
    """The sweep file that an earlier stage left in a sweep's folder.

    Raises:
        ConfigError: it is another folder; names the sweeps below it.
    """
    if not (folder / RESOLVED).is_file():
        below = sorted(str(path.parent) for path in folder.glob(f"*/{RESOLVED}"))
        name = f"one of {', '.join(below)}" if below else f"a sweep file, or the folder of a sweep with {RESOLVED}"
        raise ConfigError([f"{folder}: a folder, and no sweep's own — name {name}"])
    return folder / RESOLVED


def _require_text(path: Path) -> None:
    """Libraries that keep students, and files that name others, know paths in UTF-8 alone.

    Raises:
        RecordError: the path holds other bytes, or this process was told that paths are no UTF-8.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise RecordError(
            f"{str(path)!r}: its name is not UTF-8, or LC_ALL and PYTHONUTF8 say that names are not — nothing was "
            "changed; rename it, or set LC_ALL=C.UTF-8"
        ) from error


def _name_in(path: Path) -> object:
    try:
        return read_document(path).values.get("name")
    except ConfigError:
        return None
