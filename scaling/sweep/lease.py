"""Claims on shared work through files alone: no server, no locks, no clocks that must agree.

A claim on a key is a row of files ``lease.1``, ``lease.2``, …; the highest generation owns the key. A generation is
created with all of its content at once and exclusively (``os.link``), so of many claimants one wins. The owner
rewrites its file every few seconds. A claimant takes over — creates the next generation — once the owner has let go,
is known to be dead, or its file has not *changed* for ``stale_after_s`` on the claimant's own monotonic clock: time
stamps are never compared, so clocks may be wrong by hours.

An owner that was only asleep must not undo what its successor did. It proves its claim right before each step that
others would see (:meth:`Lease.prove`): the file under its name is the very one that it created, holds what it wrote
last, and no later generation is there. It writes through the file that it holds open, so a lease that somebody deleted
or replaced is never written again; and ``claimed.3`` beside ``lease.3`` remembers the generation if that is deleted.
Between proof and step it may sleep again: results are therefore published by a rename that takes nobody's place.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from scaling.errors import Preempted
from scaling.files import clear_errors, make_folder, write_once

_HEARTBEAT_S = 5.0
"""Seconds between beats: seldom enough for a file server, often enough for somebody who watches the notes in them."""

_FIRST_BEAT_S = 1.0
"""The first comes sooner: who has just begun is what a watcher wants to know, and short work has no second beat."""


_LINE_BYTES = 512
"""A lease is padded to a multiple of this, so that a beat fits where the one before stood, on a full disk too."""


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

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

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
        line = json.dumps(asdict(self)).encode()
        return line + b" " * (-(len(line) + 1) % _LINE_BYTES) + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> LeaseState | None:
        """The state, or None where the file is torn."""
        try:
            return _STATE.validate_json(content)
        except ValueError:
            return None


_STATE = TypeAdapter(LeaseState)


class Lease:
    """An owned key; rewritten by a thread until released.

    Args:
        folder: Of the key.
        generation: Of this owner, whose file is there.
        state: What the file holds.
        heartbeat_s: Seconds between beats.
    """

    def __init__(self, folder: Path, generation: int, state: LeaseState, *, heartbeat_s: float):
        self.folder, self.generation = folder, generation
        self.state = state
        self._path = folder / f"lease.{generation}"
        self._file = os.open(self._path, os.O_RDWR)
        self._content = state.to_bytes()
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {folder.name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """True once the key is known to be somebody else's; whatever is being done for it must stop."""
        # A file server that does not answer proves nothing; what others would see waits for `prove`.
        with contextlib.suppress(OSError):
            self._look()
        return self._lost.is_set()

    def prove(self) -> None:
        """Make sure that the key is still owned, right before a step that others would see.

        Raises:
            Preempted: if it is not.
            MachineError: if this machine cannot tell.
        """
        with clear_errors():
            self._look()
        if self._lost.is_set():
            raise Preempted(f"{self.folder.name} was taken over by another worker, which goes on with it")

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
        # Where it cannot be written, others take the silence for an end.
        with contextlib.suppress(OSError):
            self._write()
        os.close(self._file)

    def _beat(self) -> None:
        pause = min(_FIRST_BEAT_S, self._heartbeat_s)
        while not self._stop.wait(pause):
            pause = self._heartbeat_s
            if self.lost:
                return
            self.state = replace(self.state, beat=self.state.beat + 1)
            # A missed beat (file server away) is made up for by the next; silence means takeover.
            with contextlib.suppress(OSError):
                self._write()

    def _look(self) -> None:
        """Take notice of a loss."""
        with self._lock:
            if not self._lost.is_set() and not self._is_own():
                self._lost.set()

    def _is_own(self) -> bool:
        """True if the lease stands as this owner left it, and nobody came after."""
        try:
            # Opened anew: a file server then says what is there now, not what it said before.
            with self._path.open("rb") as found:
                same = os.path.sameopenfile(found.fileno(), self._file) and found.read() == self._content
        except FileNotFoundError:
            return False
        return same and latest_generation(self.folder) == self.generation

    def _write(self) -> None:
        self._look()
        with self._lock:
            if not self._lost.is_set():
                # In place and through the open file: no successor's lease is ever touched, no deleted one comes back.
                self._content = self.state.to_bytes().ljust(len(self._content))
                os.pwrite(self._file, self._content, 0)


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
        """Own a key, or None while somebody else does.

        Raises:
            MachineError: if this machine cannot write there.
        """
        with clear_errors():
            try:
                return self._claim(key)
            except FileNotFoundError:
                # Somebody removes the folder at this moment.
                return None

    def _claim(self, key: str) -> Lease | None:
        folder = make_folder(self.root / key)
        generation = latest_generation(folder)
        before = self._claimable(key, folder, generation) if generation else LeaseState(owner="", released=True)
        if before is None:
            return None
        generation += 1
        state = LeaseState(
            owner=self.owner,
            failures=before.failures,
            crashes=before.crashes + (not before.released),
            machine=self._machine,
            pid=os.getpid(),
            born=_born(os.getpid()),
        )
        if not write_once(folder / f"lease.{generation}", state.to_bytes()):
            return None
        # A claimant that slept between looking and creating may have made a generation that is history already.
        if latest_generation(folder) != generation:
            return None
        (folder / f"claimed.{generation}").touch()
        _forget(folder, below=generation)
        self._seen.pop(key, None)
        return Lease(folder, generation, state, heartbeat_s=min(_HEARTBEAT_S, self.stale_after_s / 6))

    def _claimable(self, key: str, folder: Path, generation: int) -> LeaseState | None:
        """The last owner's state if it no longer owns, else None."""
        try:
            content = (folder / f"lease.{generation}").read_bytes()
        except FileNotFoundError:
            # Deleted: whoever owned it finds out before its next step.
            return LeaseState(owner="", released=True)
        state = LeaseState.from_bytes(content)
        if state is not None and (state.released or is_dead(state, self._machine)):
            return state
        sighting = self._seen.get(key)
        if sighting is None or (sighting.generation, sighting.content) != (generation, content):
            self._seen[key] = _Sighting(generation, content, self._clock())
            return None
        if self._clock() - sighting.since < self.stale_after_s:
            return None
        return state or LeaseState(owner="")


def is_dead(state: LeaseState, machine: str | None = None) -> bool:
    """Whether an owner ran on this very machine, whose identity is by default found out, and does so no longer."""
    here = _machine() if machine is None else machine
    return bool(state.machine) and state.machine == here and _born(state.pid) != state.born


def read_lease(folder: Path) -> LeaseState | None:
    """The state of the current owner of a key, None where there is none or its file is torn."""
    generation = latest_generation(folder)
    try:
        return LeaseState.from_bytes((folder / f"lease.{generation}").read_bytes()) if generation else None
    except OSError:
        return None


def latest_generation(folder: Path) -> int:
    """The highest generation of a key that ever was, 0 where it was never claimed."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    return max((_generation(name) for name in names), default=0)


def _generation(name: str) -> int:
    """The generation that a file of a key speaks of, 0 for a file of another kind."""
    kind, _, number = name.partition(".")
    return int(number) if kind in ("lease", "claimed") and number.isdecimal() else 0


def _forget(folder: Path, *, below: int) -> None:
    for name in os.listdir(folder):
        if 0 < _generation(name) < below:
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
