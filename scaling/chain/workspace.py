"""A sweep, and the folders that its stages read and write."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaling.config.load import open_sweep
from scaling.config.sweep import SweepConfig
from scaling.files import write_bytes
from scaling.records import RunStore
from scaling.spec import RunSpec

RECOMMENDATION = "recommendation.json"


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
        results: str | os.PathLike[str] = "results",
        overrides: Sequence[str] = (),
    ) -> Workspace:
        """Read a sweep file, or the one that an earlier stage left in a sweep's results folder."""
        path = Path(file)
        path = path / "sweep.yaml" if path.is_dir() else path
        sweep = open_sweep(path, overrides)
        return cls(config=sweep.config, overrides=tuple(overrides), runs=sweep.runs, store=RunStore(results))

    @property
    def folder(self) -> Path:
        """Where the stages of the sweep write."""
        return self.store.root / self.config.name

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
        words = [verb, shlex.quote(str(self.config.path))]
        words += [f"--set {shlex.quote(text)}" for text in self.overrides]
        words += [f"--results {shlex.quote(str(self.store.root))}"] if str(self.store.root) != "results" else []
        return " ".join(words)

    def prepare(self) -> Workspace:
        """Create the sweep's folder, with its resolved file (includes and ``--set`` applied) for later commands."""
        import yaml

        self.store.prepare()
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config.document.values, sort_keys=False, allow_unicode=True)
        write_bytes(self.folder / "sweep.yaml", text.encode())
        return self
