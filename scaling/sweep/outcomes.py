"""Ends of runs that training itself does not commit: failures, damaged records, runs to be trained again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from scaling.errors import RecordError
from scaling.files import clear_errors, make_folder
from scaling.records import ForeignRecord, Outcome, RunRecord, RunStore
from scaling.spec import RunSpec

LOG_TAIL = 5

RunState = Literal["new", "done", "diverged", "failed", "damaged"]

RUN_STATES: tuple[RunState, ...] = get_args(RunState)

DUE: frozenset[RunState] = frozenset(("new", "damaged"))
"""States of a run that is to be trained."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A training that ended in an error."""

    number: int
    worker: str
    error: Exception

    @property
    def sentence(self) -> str:
        """The error in one line."""
        return sentence(self.error)


def sentence(error: BaseException) -> str:
    """The first line of an error, with its type."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


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


@dataclass(frozen=True)
class Seen:
    """A run at a glance.

    Attributes:
        state: ``new``, the status of the committed run, or ``damaged`` where its files are not what the record says.
        outcome: What it measured; None where there is no whole record.
    """

    state: RunState
    outcome: Outcome | None = None


def look(store: RunStore, run_id: str) -> Seen:
    """How a run stands.

    Raises:
        RecordError: if another version of the program wrote it.
    """
    if not store.has(run_id):
        return Seen("new")
    try:
        outcome = store.outcome(run_id)
    except ForeignRecord:
        raise
    except RecordError:
        return Seen("damaged")
    return Seen(outcome.status, outcome)


def state_of(store: RunStore, run_id: str) -> RunState:
    """The state of a run alone."""
    return look(store, run_id).state


def append_log(store: RunStore, run_id: str, text: str) -> None:
    """Add a dated entry to a run's log."""
    path = store.log_path(run_id)
    make_folder(path.parent)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with clear_errors(), path.open("a", encoding="utf-8") as file:
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
    log, outcome = store.log_path(run_id), look(store, run_id).outcome
    error = outcome.error if outcome else None
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
            store.set_aside(run_id)
            forgotten.append(run_id)
    return forgotten


def torn(store: RunStore, run_ids: Iterable[str]) -> list[str]:
    """Committed runs with a file that is absent, cut short or changed; another schema is not ours to judge."""
    return [run_id for run_id in run_ids if store.has(run_id) and store.damage(run_id)]


def _tail(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line for line in lines if line.strip())[-LOG_TAIL:]
