"""A worker: walks the trunks of a sweep, claims one, trains it, commits, moves on. All workers are alike.

Nothing tells a worker what to do but the files under the results folder, so any number of them may work on one sweep,
on one machine or on many that share the folder, and any of them may die at any moment.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from scaling.errors import MachineError, Preempted, ScalingError
from scaling.files import machine_error
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.stop import Stop
from scaling.sweep.lease import Claims, Lease
from scaling.sweep.outcomes import DUE, Attempt, append_log, commit_failed, sentence, state_of, torn
from scaling.sweep.progress import Event, EventKind, Listener
from scaling.sweep.trainer import Step, Trainer
from scaling.sweep.trunks import Trunk

MAX_CRASHES = 10
"""Deaths of a trunk's workers after which the next one takes the trunk for the cause and marks its runs as failed."""


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker behaves.

    Attributes:
        max_attempts: Errors of a trunk after which its runs are committed as failed.
        max_crashes: Deaths of a trunk's workers after which it is taken for the cause (out of memory, say).
        stale_after_s: A worker whose lease did not change for so long is taken for dead.
        poll_s: Pause before looking again where all that is left is claimed by others.
        fail_fast: Stop at the first failed trunk.
        max_trunks: Stop after so many trunks; None for no limit.
    """

    max_attempts: int = 2
    max_crashes: int = MAX_CRASHES
    stale_after_s: float = 60.0
    poll_s: float = 0.5
    fail_fast: bool = False
    max_trunks: int | None = None


@dataclass
class WorkerReport:
    """What one worker did.

    Attributes:
        trained: Runs that it committed.
        failed: Runs that it gave up.
        blocked: Runs that wait for one which failed, their teacher or start.
        stopped: True if it ended before the sweep was finished.
        obstacle: What this machine cannot do, which made it stop; empty for none.
        elsewhere: True if the work is done by workers that this process does not wait for.
    """

    trained: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    stopped: bool = False
    obstacle: str = ""
    elsewhere: bool = False


def worker_name() -> str:
    """Host and process, as others see this worker."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Worker:
    """What one process does for a sweep, one trunk after the other."""

    def __init__(
        self,
        store: RunStore,
        trainer: Trainer,
        options: WorkerOptions,
        listener: Listener,
        stop: Stop,
        claims: Claims,
    ):
        self.store, self.trainer, self.options = store, trainer, options
        self.listener, self.stop, self.claims = listener, stop, claims
        self.report = WorkerReport()
        self._trunks: Sequence[Trunk] = ()
        self._readers: dict[str, list[RunSpec]] = {}
        self._prepared: set[str] = set()
        self._n_trunks = 0

    def walk(self, trunks: Sequence[Trunk]) -> WorkerReport:
        """Pass over the trunks until all are settled, a stop is asked for, or this machine cannot go on."""
        try:
            self._walk(trunks)
        except MachineError as error:
            self.report.stopped, self.report.obstacle = True, str(error)
        return self.report

    def _walk(self, trunks: Sequence[Trunk]) -> None:
        """Pass over the trunks until all are settled; what others hold is looked at again."""
        self._trunks, self._readers = trunks, _readers(trunks)
        left = [trunk for trunk in trunks if self._missing(trunk) or torn(self.store, trunk.run_ids)]
        while left:
            busy = []
            for trunk in left:
                if self._must_end():
                    self.report.stopped = self.stop()
                    return
                if not self._settle(trunk):
                    busy.append(trunk)
            moved, left = len(busy) < len(left), busy
            if left and not moved and self.stop.wait(self.options.poll_s):
                self.report.stopped = True
                return

    def _must_end(self) -> bool:
        enough = self.options.max_trunks is not None and self._n_trunks >= self.options.max_trunks
        return self.stop() or enough or (self.options.fail_fast and bool(self.report.failed))

    def _settle(self, trunk: Trunk) -> bool:
        """Bring a trunk to its end if it is free; True once there is nothing left to do for it."""
        if not self._missing(trunk) and not torn(self.store, trunk.run_ids):
            self._tell("finished", trunk)
            return True
        ready = self._needs_ready(trunk)
        if ready is None:
            self.report.blocked += [spec.run_id for spec in self._missing(trunk)]
            self._tell("blocked", trunk, message=f"it needs {', '.join(trunk.needs)}, not all of which trained")
            return True
        if not ready or not self._prepare(trunk):
            return False
        lease = self.claims.claim(trunk.trunk_id)
        if lease is None:
            return False
        self._n_trunks += 1
        return self._attempt(trunk, lease)

    def _missing(self, trunk: Trunk) -> list[RunSpec]:
        return [spec for spec in trunk.specs if not self.store.has(spec.run_id)]

    def _needs_ready(self, trunk: Trunk) -> bool | None:
        """False while what it needs is still to be trained, None if it never will be."""
        for run_id in trunk.needs:
            state = state_of(self.store, run_id)
            if state in DUE:
                return None if run_id in self.report.blocked else False
            if state != "done":
                return None
        return True

    def _prepare(self, trunk: Trunk) -> bool:
        """Make what the trunk's stream reads, once for all trunks that read it; False while another worker does."""
        key = _reads(trunk)
        if key is None or key in self._prepared:
            return True
        # Text has a claim of its own: trunks that read it wait for whoever writes it, and others go on.
        lease = self.claims.claim(f"text-{key}")
        if lease is None:
            return False
        failed = settled = False
        try:
            self.trainer.prepare(
                self._readers[key],
                self.store.fenced(lease.prove),
                progress=lambda said: self._tell("preparing", trunk, message=said),
                should_stop=lambda: self.stop() or lease.lost,
            )
            self._prepared.add(key)
            self._tell("prepared", trunk)
        except Preempted:
            return False
        except Exception as error:
            failed, settled = True, self._fail(trunk, lease, error)
        finally:
            lease.release(failed=failed, settled=settled)
        return not failed

    def _attempt(self, trunk: Trunk, lease: Lease) -> bool:
        """Train a claimed trunk; True if it is settled."""
        failed = settled = False
        try:
            if lease.state.crashes > self.options.max_crashes:
                raise _TooManyCrashes(f"its worker died {lease.state.crashes} times, by lack of memory perhaps")
            self._mend(trunk, lease)
            settled = self._train(trunk, lease)
        except Preempted:
            self._tell("released", trunk, message="taken over by another worker" if lease.lost else "state is saved")
        except Exception as error:
            failed, settled = True, self._fail(trunk, lease, error)
        finally:
            lease.release(failed=failed, settled=settled)
        return settled

    def _mend(self, trunk: Trunk, lease: Lease) -> None:
        """Clear away what is damaged, and what workers that died left half written."""
        store = self.store.fenced(lease.prove)
        for run_id in trunk.run_ids:
            if store.set_aside_torn(run_id):
                self._tell("retry", trunk, run_id=run_id, message="its record was damaged, set aside and trained again")
            store.clear_drafts(run_id)

    def _train(self, trunk: Trunk, lease: Lease) -> bool:
        missing = self._begin(trunk, lease)
        if not missing:
            self._tell("finished", trunk)
            return True
        with self._telling_ends(trunk, lease, missing):
            self.trainer.train(
                missing,
                self.store.fenced(lease.prove),
                progress=lambda step: self._on_step(trunk, lease, step),
                should_stop=lambda: self.stop() or lease.lost,
            )
        return True

    def _begin(self, trunk: Trunk, lease: Lease) -> list[RunSpec]:
        """Say and log that a trunk begins; gives the runs to be trained."""
        missing = self._missing(trunk)
        if missing:
            resumed = self.store.trunk_dir(trunk.trunk_id).exists()
            self._tell("taken over" if lease.state.crashes else "resumed" if resumed else "claimed", trunk)
        for spec in missing:
            append_log(self.store, spec.run_id, f"{self.claims.owner}: attempt {lease.state.failures + 1} begins")
        return missing

    @contextmanager
    def _telling_ends(self, trunk: Trunk, lease: Lease, begun: Sequence[RunSpec]) -> Iterator[None]:
        """Say how the runs of a trunk ended, also those that left before a stop or an error."""
        try:
            yield
        except BaseException:
            # What ended the work counts, whatever the telling meets.
            with suppress(OSError, ScalingError):
                self._tell_ended(trunk, lease, begun)
            raise
        self._tell_ended(trunk, lease, begun)
        if left := self._missing(trunk):
            raise RuntimeError(f"the trainer came back without a record of {', '.join(s.run_id for s in left)}")
        self._tell("finished", trunk)

    def _tell_ended(self, trunk: Trunk, lease: Lease, begun: Sequence[RunSpec]) -> None:
        left = self._missing(trunk)
        # What was taken over may have ended in other hands.
        for spec in () if lease.lost else begun:
            if spec not in left:
                self._tell_end(trunk, spec)

    def _on_step(self, trunk: Trunk, lease: Lease, step: Step) -> None:
        lease.note(step=step.step, steps=step.steps, loss=step.loss, tokens_per_s=step.tokens_per_s)
        self._tell("step", trunk, step=step.step, steps=step.steps, loss=step.loss, tokens_per_s=step.tokens_per_s)

    def _tell_end(self, trunk: Trunk, spec: RunSpec) -> None:
        outcome = self.store.load(spec.run_id).outcome
        self.report.trained.append(spec.run_id)
        append_log(self.store, spec.run_id, f"{self.claims.owner}: {outcome.status}")
        self._tell(
            "done" if outcome.status == "done" else "diverged",
            trunk,
            run_id=spec.run_id,
            step=spec.steps,
            steps=spec.steps,
            loss=outcome.loss,
            tokens_per_s=outcome.tokens_per_s,
        )

    def _fail(self, trunk: Trunk, lease: Lease, error: Exception) -> bool:
        """Log an error; give the trunk up if it had its attempts, or if another attempt must end alike.

        Raises:
            MachineError: if the error says nothing of the trunk, but that this machine cannot go on.
        """
        if lease.lost:
            # Whatever went wrong here, the trunk is in other hands, where it may go well.
            self._tell("released", trunk, message=f"taken over by another worker; here: {sentence(error)}")
            return False
        obstacle = machine_error(error)
        if obstacle is not None:
            self._tell("released", trunk, message=str(obstacle))
            raise obstacle from error
        attempt = Attempt(number=lease.state.failures + 1, worker=self.claims.owner, error=error)
        missing = self._missing(trunk)
        for spec in missing:
            append_log(self.store, spec.run_id, "".join(traceback.format_exception(error)))
        hopeless = isinstance(error, ScalingError | _TooManyCrashes)
        if not hopeless and attempt.number < self.options.max_attempts:
            self._tell("retry", trunk, message=f"attempt {attempt.number} failed: {attempt.sentence}")
            return False
        try:
            for spec in missing:
                commit_failed(self.store.fenced(lease.prove), spec, attempt)
                self.report.failed.append(spec.run_id)
                self._tell("failed", trunk, run_id=spec.run_id, message=attempt.sentence)
        except Preempted:
            self._tell("released", trunk, message="taken over by another worker")
            return False
        return True

    def _tell(self, kind: EventKind, trunk: Trunk, **values) -> None:
        self.listener(Event(kind=kind, worker=self.claims.owner, trunk_id=trunk.trunk_id, **values))


class _TooManyCrashes(Exception):
    pass


def _reads(trunk: Trunk) -> str | None:
    """What names the text that a trunk reads; None for a world that is made as it is read."""
    data = trunk.specs[0].data
    return data.stream_id if data.is_stored else None


def _readers(trunks: Sequence[Trunk]) -> dict[str, list[RunSpec]]:
    """All runs that read each text: it is made long enough for the longest."""
    readers: dict[str, list[RunSpec]] = {}
    for trunk in trunks:
        if (key := _reads(trunk)) is not None:
            readers.setdefault(key, []).extend(trunk.specs)
    return readers
