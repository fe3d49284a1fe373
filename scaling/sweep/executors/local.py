"""Worker processes on one machine: spawned once each, watched, replaced when they die, told to stop together."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from scaling.machine import cores
from scaling.records import RunStore
from scaling.stop import Stop, stop_on_signals
from scaling.sweep.accelerators import accelerators
from scaling.sweep.executors.executor import EXECUTORS, Request, refuse_settings
from scaling.sweep.progress import Event
from scaling.sweep.trainer import Trainer
from scaling.sweep.trunks import Trunk
from scaling.sweep.work import work
from scaling.sweep.worker import WorkerOptions, WorkerReport

_STEP_EVENTS_PER_S = 4.0


@EXECUTORS.register("local")
def local(request: Request) -> WorkerReport:
    """Start ``request.jobs`` workers, pass their events on, and collect what they did."""
    refuse_settings(request, "local")
    pool = _Pool(request)
    try:
        while pool.members:
            pool.listen(0.2)
            # What stops one worker of this machine stops the others: a full disk, say.
            if request.stop() or pool.failed_fast or pool.report.obstacle:
                pool.ask_to_stop()
    except KeyboardInterrupt:
        pool.kill()
        raise
    return pool.report


@dataclass(frozen=True)
class _Task:
    """The part of a request that is sent to a process."""

    trunks: Sequence[Trunk]
    store: RunStore
    trainer: Trainer | None
    options: WorkerOptions


class _Member:
    """A process and the pipe that it talks through."""

    # One pipe a worker: a process that is killed while it holds a shared queue's lock would block all others.
    def __init__(self, request: Request, index: int):
        spawn = multiprocessing.get_context("spawn")
        self.index = index
        self.pipe, theirs = spawn.Pipe(duplex=False)
        environment = worker_environment(index, request.jobs)
        task = _Task(request.trunks, request.store, request.trainer, request.options)
        self.process = spawn.Process(target=_worker_main, args=(task, environment, theirs), name=f"worker-{index}")
        self.process.start()
        theirs.close()


class _Pool:
    def __init__(self, request: Request):
        self.request = request
        self.report = WorkerReport()
        self.members = [_Member(request, index) for index in range(request.jobs)]
        self.failed_fast = False
        self._deaths = 0
        self._at: dict[int, str] = {}
        self._asked = False

    def listen(self, seconds: float) -> None:
        """Take what arrives within some seconds, and see who ended."""
        ready = wait([member.pipe for member in self.members], timeout=seconds)
        for member in [member for member in self.members if member.pipe in ready]:
            try:
                self._take(member, member.pipe.recv())
            except (EOFError, OSError):
                self._ended(member)

    def ask_to_stop(self) -> None:
        """Pass a stop on, once; workers save their state and end by themselves."""
        if not self._asked:
            self._asked = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all workers now; their leases go stale and their checkpoints remain."""
        self._signal(signal.SIGKILL)
        for member in self.members:
            member.process.join()

    def _signal(self, number: int) -> None:
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                # multiprocessing knows no other signals than TERM and KILL.
                if member.process.pid is not None:
                    os.kill(member.process.pid, number)

    def _take(self, member: _Member, message: Event | WorkerReport) -> None:
        if isinstance(message, Event):
            self._at[member.index] = message.trunk_id
            if message.kind in ("done", "diverged", "failed", "finished"):
                self._deaths = 0
            # A worker that is killed never reports what it had trained.
            if message.kind in ("done", "diverged") and message.run_id:
                self.report.trained.append(message.run_id)
            if message.kind == "failed" and self.request.options.fail_fast:
                self.failed_fast = True
            self.request.progress(message)
            return
        for name in ("trained", "failed", "blocked"):
            getattr(self.report, name).extend(getattr(message, name))
        self.report.stopped |= message.stopped
        self.report.obstacle = self.report.obstacle or message.obstacle

    def _ended(self, member: _Member) -> None:
        member.process.join()
        member.pipe.close()
        self.members.remove(member)
        if member.process.exitcode == 0 or self._asked:
            return
        self._deaths += 1
        how, goes_on = f"exit code {member.process.exitcode}", self._deaths < self._most_deaths
        trunk_id = self._at.get(member.index, "-")
        # Others may go on, and settle what this one died of.
        if not goes_on and not self.members:
            self.report.stopped, self.report.obstacle = True, _given_up(self._deaths, how, trunk_id)
        message = f"the worker died ({how}); " + ("starting another" if goes_on else "no other is started")
        self.request.progress(Event(kind="retry", worker=member.process.name, trunk_id=trunk_id, message=message))
        if goes_on:
            self.members.append(_Member(self.request, member.index))

    @property
    def _most_deaths(self) -> int:
        """Deaths in a row, nothing finished between them, after which workers are not replaced any more.

        Each worker may die of a trunk of its own; a trunk that kills is marked as failed by the worker after
        ``max_crashes`` deaths, which must still be started.
        """
        return (self.request.options.max_crashes + 2) * self.request.jobs


def _given_up(deaths: int, how: str, trunk_id: str) -> str:
    at = "" if trunk_id == "-" else f", at last on trunk {trunk_id}"
    return (
        f"{deaths} workers died in a row without finishing a run ({how}{at}) — see what the workers printed; where "
        "memory ran out (exit code -9), lower --jobs or optim.batch_size and start the same command again"
    )


def worker_environment(index: int, jobs: int) -> dict[str, str]:
    """Environment of one of several workers: its share of cores and devices, read by libraries at their import."""
    if jobs == 1:
        return {}
    share = max(1, cores() // jobs)
    environment = {name: str(share) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")}
    if share == 1:
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    devices = accelerators()
    if len(devices) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    if len(devices) < jobs:
        # Several workers on one device take what they need instead of nearly all of it each.
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return environment


def _worker_main(task: _Task, environment: dict[str, str], pipe: Connection) -> None:
    os.environ.update(environment)
    with stop_on_signals() as stop:
        report = work(
            task.trunks,
            task.store,
            trainer=task.trainer,
            options=task.options,
            progress=_Sender(pipe, stop),
            stop=stop,
        )
    with contextlib.suppress(OSError):
        pipe.send(report)


class _Sender:
    """Passes events to the parent, those of work in progress only a few times a second."""

    def __init__(self, pipe: Connection, stop: Stop):
        self._pipe, self._stop, self._last = pipe, stop, 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind in ("step", "preparing"):
            if now - self._last < 1 / _STEP_EVENTS_PER_S:
                return
            self._last = now
        try:
            self._pipe.send(event)
        except (BrokenPipeError, ConnectionResetError):
            # The parent is gone, and with it whoever wanted this: save and end instead of working on unseen.
            self._stop.request()
