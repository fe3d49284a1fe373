"""Ends of runs that training itself does not commit: failures, damaged records, runs to be trained again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from scaling.errors import RecordError
from scaling.files import read_json
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import RunSpec

LOG_TAIL = 5

RunState = Literal["new", "done", "diverged", "failed"]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A training that ended in an error."""

    number: int
    worker: str
    error: Exception

    @property
    def sentence(self) -> str:
        """The error in one line."""
        lines = str(self.error).splitlines()
        return f"{type(self.error).__name__}: {lines[0] if lines else 'no message'}"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed run as it is shown to a person.

    Attributes:
        run_id: Which run.
        error: One sentence.
        log_tail: The last lines of its log.
        log_path: Where the rest is.
    """

    run_id: str
    error: str
    log_tail: tuple[str, ...]
    log_path: Path

    @property
    def sentence(self) -> str:
        """The failure in one line, with where to read on."""
        return f"run {self.run_id} failed: {self.error}; see {self.log_path}"


def result_of(store: RunStore, run_id: str) -> dict[str, Any]:
    """What a run measured, unchecked; empty for a run that is not committed or whose result is cut short."""
    try:
        result = read_json(store.run_dir(run_id) / "result.json")
    except RecordError:
        return {}
    return result if isinstance(result, dict) else {}


def state_of(store: RunStore, run_id: str) -> RunState:
    """``new``, or the status of the committed run."""
    return result_of(store, run_id).get("status", "new")


def append_log(store: RunStore, run_id: str, text: str) -> None:
    """Add a dated entry to a run's log.txt."""
    path = store.run_dir(run_id) / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{stamp} {text.rstrip()}\n")


def commit_failed(store: RunStore, spec: RunSpec, attempt: Attempt) -> RunRecord:
    """Give a run up: a row with status failed, never a gap."""
    error = f"{attempt.sentence} (attempt {attempt.number}, {attempt.worker})"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return store.commit(RunRecord(spec=spec, outcome=Outcome(status="failed", error=error, finished_at=now)))


def failures(store: RunStore, run_ids: Iterable[str]) -> list[Failure]:
    """The failed ones among some runs, with the end of their logs."""
    return [_failure(store, run_id) for run_id in run_ids if state_of(store, run_id) == "failed"]


def _failure(store: RunStore, run_id: str) -> Failure:
    folder = store.run_dir(run_id)
    log, error = folder / "log.txt", result_of(store, run_id).get("error")
    return Failure(run_id=run_id, error=error or "", log_tail=_tail(log), log_path=log)


def forget(store: RunStore, run_ids: Iterable[str], *, only_failed: bool = True) -> list[str]:
    """Make runs new again, so that the next sweep trains them; what they had is kept under ``superseded/``.

    Args:
        store: The results folder.
        run_ids: Runs to forget; those that are not committed are passed over.
        only_failed: Leave runs alone that did not fail.
    """
    forgotten = []
    for run_id in run_ids:
        if store.has(run_id) and (not only_failed or state_of(store, run_id) == "failed"):
            _set_aside(store, run_id)
            forgotten.append(run_id)
    return forgotten


def set_aside_torn(store: RunStore, run_ids: Iterable[str]) -> list[str]:
    """Move away records whose files are damaged; only the owner of their trunk may do so."""
    damaged = torn(store, run_ids)
    for run_id in damaged:
        _set_aside(store, run_id)
    return damaged


def torn(store: RunStore, run_ids: Iterable[str]) -> list[str]:
    """Committed runs with a file that is absent or cut short; another schema or an edited file is not ours to judge."""
    return [run_id for run_id in run_ids if store.has(run_id) and _is_torn(store.run_dir(run_id))]


def _is_torn(folder: Path) -> bool:
    try:
        files = [read_json(folder / name) for name in ("result.json", "config.json", "env.json")]
    except RecordError:
        return True
    return not all(isinstance(file, dict) for file in files) or "status" not in files[0]


def _set_aside(store: RunStore, run_id: str) -> None:
    """One rename, so that a reader sees the whole run or none of it."""
    folder = store.root / "superseded"
    folder.mkdir(exist_ok=True)
    number = 1
    while True:
        try:
            return os.rename(store.run_dir(run_id), folder / f"{run_id}.{number}")
        except OSError as error:
            # A name that is taken is a folder that is not empty; anything else is for the caller.
            if not (folder / f"{run_id}.{number}").exists():
                raise error
            number += 1


def _tail(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line for line in lines if line.strip())[-LOG_TAIL:]
