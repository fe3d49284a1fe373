"""Being asked to stop: Ctrl-C, TERM, a terminal that closes, and the USR signals by which schedulers end a job."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from scaling.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED, Preempted

T = TypeVar("T")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class Stop:
    """Whether a stop was asked for, and by which signal; call it to ask."""

    signal_number: int | None = None
    _event: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> bool:
        return self._event.is_set()

    def request(self, signal_number: int = signal.SIGTERM) -> None:
        """Ask for a stop."""
        self.signal_number = self.signal_number or signal_number
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at a stop; True if one was asked for."""
        return self._event.wait(seconds)

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, else 75: state is saved and the same command goes on."""
        return EXIT_INTERRUPTED if self.signal_number == signal.SIGINT else EXIT_PREEMPTED


_open: list[Stop] = []
"""Stops of the ``with`` blocks that the main thread is in, innermost last. Signal handlers belong to the process, and
so does this."""


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn the stop signals into a request for the time of a ``with`` block; a second Ctrl-C interrupts at once."""
    stop = Stop()

    def handle(number: int, _frame: object) -> None:
        if number == signal.SIGINT and stop():
            raise KeyboardInterrupt
        stop.request(number)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in _heard()}
    _open.append(stop)
    try:
        yield stop
    finally:
        _open.remove(stop)
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard() -> list[signal.Signals]:
    """The stop signals: under nohup the terminal may close."""
    return [one for one in STOP_SIGNALS if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN]


@contextmanager
def interruptible() -> Iterator[None]:
    """A stage that ends at its next :func:`check_stop`, or at its own end, once it was asked to stop.

    Python raises Ctrl-C wherever it happens to be. Inside a callback of the garbage collector (jax has one) the
    exception is printed and forgotten, and the command goes on as if nothing had been asked; a request is kept.
    """
    with stop_on_signals():
        yield
        check_stop()


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """A command in which Ctrl-C interrupts at once; if that was forgotten, at the next step of a stage or the end."""
    stop = Stop()

    def handle(number: int, _frame: object) -> None:
        stop.request(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # a caller's own, or none because it was told to ignore it
        yield
        return
    signal.signal(signal.SIGINT, handle)
    _open.append(stop)
    try:
        yield
        check_stop()
    except SystemExit as end:
        if not end.code:
            check_stop()
        raise
    finally:
        _open.remove(stop)
        signal.signal(signal.SIGINT, before)


def stoppable(items: Iterable[T]) -> Iterator[T]:
    """The same items, with a :func:`check_stop` before each."""
    for item in items:
        check_stop()
        yield item


def stop_asked() -> bool:
    """True from a stop signal to the end of the ``with`` block that was asked to stop."""
    return any(stop() for stop in _open)


def check_stop() -> None:
    """Between two steps of a stage: end it if a stop was asked for.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        Preempted: after another stop signal.
    """
    asked = next((stop for stop in _open if stop()), None)
    if asked is None:
        return
    if asked.exit_code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    raise Preempted("stopped as asked; what was finished is kept — the same command goes on")
