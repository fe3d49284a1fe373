"""Events on stderr: a progress bar at a terminal, one line an event anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from scaling.sweep.plan import Plan
from scaling.sweep.progress import Event, FlopsMeter, Listener

_STEP_LINE_S = 10.0
"""Seconds between lines about the work on one trunk where there is no terminal."""


@contextmanager
def show_progress(plan: Plan, *, title: str = "training", stream: TextIO | None = None) -> Iterator[Listener]:
    """A listener that shows a sweep's events for the time of a ``with`` block.

    The bar and the time left are weighted by FLOPs: runs differ in cost by orders of magnitude.

    Args:
        plan: The sweep's plan.
        title: What is being done.
        stream: Where to; by default stderr.
    """
    stream = stream or sys.stderr
    meter = FlopsMeter(plan.trunk_flops, done=plan.flops_done)
    if stream.isatty():
        with _bar(meter, title, stream) as listener:
            yield listener
    else:
        yield _Lines(meter, stream)


class _Lines:
    def __init__(self, meter: FlopsMeter, stream: TextIO):
        self._meter, self._stream = meter, stream
        self._began = time.monotonic()
        self._last: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, event: Event) -> None:
        self._meter.update(event)
        now = time.monotonic()
        if event.kind == "finished":
            # Every worker notices the end of every trunk; one line is enough.
            if event.trunk_id in self._finished:
                return
            self._finished.add(event.trunk_id)
        if event.kind in ("step", "preparing"):
            if now - self._last.setdefault(event.trunk_id, now) < _STEP_LINE_S:
                return
            self._last[event.trunk_id] = now
        left = self._meter.remaining_s(now - self._began)
        part = self._meter.done / self._meter.total if self._meter.total else 1.0
        eta = "" if left is None else f", {duration(left)} left"
        print(f"[{part:4.0%}{eta}] {event.line()}", file=self._stream, flush=True)


@contextmanager
def _bar(meter: FlopsMeter, title: str, stream: TextIO) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[latest]}", style="dim"),
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(file=stream)) as progress:
        task = progress.add_task(title, total=meter.total or 1.0, left="", latest="")
        progress.update(task, completed=meter.done)

        def listen(event: Event) -> None:
            meter.update(event)
            left = meter.remaining_s(time.monotonic() - began)
            said = "" if left is None else f"{duration(left)} left"
            loss = "" if event.loss is None else f"loss {event.loss:.3f}"
            doing = event.message if event.kind == "preparing" else loss
            progress.update(task, completed=meter.done, left=said, latest=f"{event.trunk_id} {doing}")
            # What a person must not miss stays on the screen above the bar.
            if event.kind in ("retry", "failed", "diverged", "blocked", "taken over"):
                progress.console.print(event.line(), highlight=False, markup=False)

        yield listen


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``45 s``, ``3 min``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
