"""Claims on shared work through files alone: no server, no locks, no clocks that must agree.

A claim on a key is a row of files ``lease.1``, ``lease.2``, …; the highest generation owns the key. A generation is
created with all of its content at once and exclusively (``os.link``), so of many claimants one wins. The owner
rewrites its file every few seconds. A claimant takes over — creates the next generation — once the owner has let go,
is known to be dead, or its file has not *changed* for ``stale_after_s`` on the claimant's own monotonic clock: time
stamps are never compared, so clocks may be wrong by hours. An owner that was only asleep sees a higher generation and
stops. What it could still commit is harmless, because results are committed by link as well: the first wins.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

_HEARTBEAT_S = 5.0
"""Seconds between beats: seldom enough for a file server, often enough for somebody who watches the notes in them."""

_FIRST_BEAT_S = 1.0
"""The first comes sooner: who has just begun is what a watcher wants to know, and short work has no second beat."""


@dataclass(frozen=True, kw_only=True)
class LeaseState:
    """What a lease file says.

    Attributes:
        owner: Name of the worker.
        beat: Counts up while the owner lives.
        released: True once the owner let go.
        failures: Attempts at this key that ended in an error, since it was last settled.
        crashes: Owners of this key that died, since it was last settled.
        machine: Identifies the machine and its process table, empty where that cannot be told.
        pid: Process of the owner.
        born: When that process started, in the machine's own ticks.
        note: What the owner is doing: last step, loss, throughput.
    """

    owner: str
    beat: int = 0
    released: bool = False
    failures: int = 0
    crashes: int = 0
    machine: str = ""
    pid: int = 0
    born: str = ""
    note: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> LeaseState | None:
        """The state, or None where the file is torn."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return None


class Lease:
    """An owned key; rewritten by a thread until released."""

    def __init__(self, folder: Path, generation: int, state: LeaseState, *, heartbeat_s: float):
        self.folder, self.generation = folder, generation
        self.state = state
        self._heartbeat_s = heartbeat_s
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {folder.name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """True once somebody else took over; whatever is being done for this key must stop."""
        if not self._lost.is_set() and latest_generation(self.folder) > self.generation:
            self._lost.set()
        return self._lost.is_set()

    def note(self, **values: Any) -> None:
        """Say what is being done; written with the next beat."""
        self.state = replace(self.state, note=values)

    def release(self, *, failed: bool = False, settled: bool = False) -> None:
        """Let go, so that the next claimant need not wait.

        Args:
            failed: Count a failed attempt.
            settled: Nothing is left to do for this key; if there ever is again, it starts with a clean slate.
        """
        self._stop.set()
        self._thread.join()
        failures, crashes = (0, 0) if settled else (self.state.failures + failed, self.state.crashes)
        beat = self.state.beat + 1
        self.state = replace(self.state, released=True, failures=failures, crashes=crashes, beat=beat)
        if not self.lost:
            self._write()

    def _beat(self) -> None:
        pause = min(_FIRST_BEAT_S, self._heartbeat_s)
        while not self._stop.wait(pause):
            pause = self._heartbeat_s
            if self.lost:
                return
            self.state = replace(self.state, beat=self.state.beat + 1)
            # A missed beat (full disk, file server away) is made up for by the next; silence means takeover.
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        with _temporary(self.folder, self.state.to_bytes()) as temporary:
            os.replace(temporary, self.folder / f"lease.{self.generation}")


@dataclass(frozen=True)
class _Sighting:
    generation: int
    content: bytes
    since: float


class Claims:
    """One worker's view of all claims under a folder.

    Args:
        root: Folder of the claims, shared by all workers.
        owner: Name of this worker.
        stale_after_s: An owner whose file did not change for so long is taken for dead.
        clock: Seconds of a monotonic clock.
        machine: Identity of this machine; a dead owner on it is replaced at once. By default found out.
    """

    def __init__(
        self,
        root: Path,
        owner: str,
        *,
        stale_after_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        machine: str | None = None,
    ):
        self.root, self.owner = root, owner
        self.stale_after_s, self._clock = stale_after_s, clock
        self._machine = _machine() if machine is None else machine
        self._seen: dict[str, _Sighting] = {}

    def claim(self, key: str) -> Lease | None:
        """Own a key, or None while somebody else does."""
        folder = self.root / key
        generation = latest_generation(folder)
        before = LeaseState(owner="", released=True)
        if generation:
            before = self._claimable(key, folder, generation)
            if before is None:
                return None
        else:
            folder.mkdir(parents=True, exist_ok=True)
        state = LeaseState(
            owner=self.owner,
            failures=before.failures,
            crashes=before.crashes + (not before.released),
            machine=self._machine,
            pid=os.getpid(),
            born=_born(os.getpid()),
        )
        if not _create(folder / f"lease.{generation + 1}", state.to_bytes(), folder):
            return None
        # A claimant that slept between looking and creating may have made a generation that is history already.
        if latest_generation(folder) != generation + 1:
            return None
        _forget(folder, below=generation + 1)
        self._seen.pop(key, None)
        return Lease(folder, generation + 1, state, heartbeat_s=min(_HEARTBEAT_S, self.stale_after_s / 6))

    def _claimable(self, key: str, folder: Path, generation: int) -> LeaseState | None:
        """The last owner's state if it no longer owns, else None."""
        try:
            content = (folder / f"lease.{generation}").read_bytes()
        except OSError:
            return None
        state = LeaseState.from_bytes(content)
        if state is not None and (state.released or self._is_dead(state)):
            return state
        sighting = self._seen.get(key)
        if sighting is None or (sighting.generation, sighting.content) != (generation, content):
            self._seen[key] = _Sighting(generation, content, self._clock())
            return None
        if self._clock() - sighting.since < self.stale_after_s:
            return None
        return state or LeaseState(owner="")

    def _is_dead(self, state: LeaseState) -> bool:
        """True if the owner ran on this very machine and does so no longer."""
        return bool(state.machine) and state.machine == self._machine and _born(state.pid) != state.born


def read_lease(folder: Path) -> LeaseState | None:
    """The state of the current owner of a key, None where there is none or its file is torn."""
    generation = latest_generation(folder)
    try:
        return LeaseState.from_bytes((folder / f"lease.{generation}").read_bytes()) if generation else None
    except OSError:
        return None


def latest_generation(folder: Path) -> int:
    """The highest generation of a key, 0 where it was never claimed."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    return max((int(name[6:]) for name in names if name.startswith("lease.") and name[6:].isdecimal()), default=0)


def _create(path: Path, content: bytes, folder: Path) -> bool:
    """Create a file with all of its content, or not at all."""
    with _temporary(folder, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _temporary(folder: Path, content: bytes) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=folder, prefix=".lease.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _forget(folder: Path, *, below: int) -> None:
    for name in os.listdir(folder):
        if name.startswith("lease.") and name[6:].isdecimal() and int(name[6:]) < below:
            (folder / name).unlink(missing_ok=True)


@cache
def _machine() -> str:
    """This boot of this machine and its process table: only there does a process number mean anything."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process started, so that a number given out again is not taken for its first bearer."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
