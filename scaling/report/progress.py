"""A sweep while it works: one table on a terminal, drawn again in its place; elsewhere a line a trunk and a branch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from scaling.numbers import number
from scaling.report.numbers import foreseen
from scaling.stop import stop_asked
from scaling.sweep.board import DONE, TRAINING, WAITING, Board, Tally, TrunkLine
from scaling.sweep.plan import Plan
from scaling.sweep.progress import Event, Listener

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

DRAWN_PER_S = 2.0

WIDEST = 100
"""Columns of the table, at most."""

_KEPT = ("retry", "failed", "diverged", "blocked", "taken over", "released")
"""What a person must not miss: it stays on the screen above the table."""

_LINES = ("claimed", "resumed", "done", *_KEPT)
"""What is a line of its own where there is no terminal."""

_EXPLAINED = (
    "trunk: one training, from which a run branches off at each number of tokens",
    "loss: nats/token, in training on what is read; else of its last run, held out",
)


_STOPPING = (
    "stopping as asked: each trunk saves its state first, which takes seconds",
    "the same command goes on from there; Ctrl-C again ends at once, without saving",
)


@contextmanager
def show_progress(plan: Plan, *, stream: TextIO | None = None) -> Iterator[Listener]:
    """A listener that shows a sweep's events for the time of a ``with`` block.

    The share that is done and the time left are weighted by FLOPs: runs differ in cost by orders of magnitude.

    Args:
        plan: The sweep's plan.
        stream: Where to; by default stderr.
    """
    stream, tally, began = stream or sys.stderr, Tally(plan), time.monotonic()

    def now() -> Board:
        return replace(tally.board(time.monotonic() - began), stopping=stop_asked())

    if not redraws(stream):
        yield _Lines(tally, now, stream)
        return
    with live_table(now, stream) as console:

        def listen(event: Event) -> None:
            tally.update(event)
            # All else is in the table.
            if event.kind in _KEPT:
                console.print(event.line(), highlight=False, markup=False)

        yield listen


def redraws(stream: TextIO) -> bool:
    """True for a terminal that can draw over what stands there."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class _Lines:
    """One line for each trunk that begins and for each branch that ends."""

    def __init__(self, tally: Tally, now: Callable[[], Board], stream: TextIO):
        self._tally, self._now, self._stream = tally, now, stream
        self._preparing: set[str] = set()

    def __call__(self, event: Event) -> None:
        told = self._tells(event)
        self._tally.update(event)
        if told:
            board = self._now()
            left = "" if board.remaining_s is None else f", {foreseen(board.remaining_s)} left"
            print(f"[{board.part:4.0%}{left}] {event.line()}", file=self._stream, flush=True)

    def _tells(self, event: Event) -> bool:
        if event.kind == "finished":
            # Every worker notices the end of every trunk; it is news where its runs ended in other hands.
            return self._tally.is_open(event.trunk_id)
        if event.kind == "preparing" and event.trunk_id not in self._preparing:
            self._preparing.add(event.trunk_id)
            return True
        return event.kind in _LINES


@contextmanager
def live_table(look: Callable[[], Board], stream: TextIO) -> Iterator[Console]:
    """Show what ``look`` gives, twice a second, in the same place of a terminal; what is printed goes above it.

    Args:
        look: The state at that moment; it is called from another thread, and may not fail.
        stream: The terminal.

    Yields:
        The console, to print to.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    # What goes to stdout is data, perhaps into a file, and never part of what is shown.
    live = Live(_Frame(look), console=console, refresh_per_second=DRAWN_PER_S, redirect_stdout=stream is sys.stdout)
    try:
        # Ctrl-C may come while it is drawn for the first time: the cursor, hidden by then, comes back all the same.
        live.start(refresh=True)
        yield console
    finally:
        live.stop()


class _Frame:
    """The table as it is at the moment when it is drawn, as wide and as high as the terminal then is."""

    def __init__(self, look: Callable[[], Board]):
        self._look = look
        self._width = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.control import Control
        from rich.progress_bar import ProgressBar
        from rich.segment import Segment
        from rich.text import Text

        board, width = self._look(), min(options.max_width, WIDEST)
        if width < self._width:
            # The terminal has broken the lines that stand there: they cannot be overwritten one by one.
            yield Control.clear()
            yield Control.home()
        self._width = width
        words = _STOPPING if board.stopping else _EXPLAINED if options.size.height >= 16 else ()
        look = "bold" if board.stopping else "dim"
        lines, rest = chosen(board.lines, options.size.height - 6 - len(words))
        yield ProgressBar(total=1.0, completed=board.part, width=width)
        yield Segment.line()
        yield Text(headline(board), no_wrap=True, overflow="ellipsis")
        yield _table(lines, console, width)
        for line in (*rest, *words):
            yield Text(line, style=look, no_wrap=True, overflow="ellipsis")


def headline(board: Board) -> str:
    """The sweep as a whole in one line."""
    pace = sum(line.tokens_per_s or 0.0 for line in board.lines)
    parts = [f"{board.n_ended} of {board.n_runs} runs", f"{board.part:.0%} of the work"]
    parts += [f"{foreseen(board.remaining_s)} left"] if board.remaining_s is not None else []
    parts += [f"{pace:,.0f} tokens/s"] if pace else []
    return ", ".join(parts)


def chosen(lines: Sequence[TrunkLine], room: int) -> tuple[list[TrunkLine], list[str]]:
    """The trunks that fit into some rows, in their order, and what is to be said of the others.

    Those that are worked on or were given up come first, then the last that are done and the next that wait.
    """
    kept = _fitting(lines, max(1, room))
    hidden = [line.state for line in lines if line not in kept]
    counts = ", ".join(f"{hidden.count(state)} {state}" for state in dict.fromkeys(hidden))
    notes = [f"{line.trunk_id}: {line.note}" for line in kept if line.note][:1]
    return kept, [*([f"not shown: {counts}"] if counts else []), *notes]


def _fitting(lines: Sequence[TrunkLine], room: int) -> list[TrunkLine]:
    if len(lines) <= room:
        return list(lines)
    busy = [line for line in lines if line.state not in (DONE, WAITING)][:room]
    done = [line for line in lines if line.state == DONE]
    waiting = [line for line in lines if line.state == WAITING]
    # What is left is shared by those before and those after.
    free = room - len(busy)
    n_done = min(len(done), max(free // 2, free - len(waiting)))
    kept = [*busy, *done[len(done) - n_done :], *waiting[: free - n_done]]
    return [line for line in lines if line in kept]


_COLUMNS: dict[str, Callable[[TrunkLine], str]] = {
    "trunk": lambda line: line.trunk_id,
    "teacher": lambda line: line.teacher,
    "N": lambda line: number(line.n_params),
    "state": lambda line: f"{line.state} {line.part:.0%}" if line.state == TRAINING else line.state,
    "loss": lambda line: "" if line.loss is None else f"{line.loss:.3f}",
    "tokens/s": lambda line: f"{line.tokens_per_s:,.0f}" if line.tokens_per_s else "",
    "left": lambda line: "" if line.remaining_s is None else foreseen(line.remaining_s),
}

_DISPENSABLE = ("N", "teacher", "tokens/s", "left")
"""Columns that a narrow terminal does without, the first of them first."""


def _table(lines: Sequence[TrunkLine], console: Console, width: int) -> Table:
    """As many columns as fit; of what is still too wide the end is cut off."""
    for n_left_out in range(len(_DISPENSABLE) + 1):
        table = _table_of(lines, [name for name in _COLUMNS if name not in _DISPENSABLE[:n_left_out]])
        if console.measure(table, options=console.options.update_width(1000)).maximum <= width:
            break
    return table


def _table_of(lines: Sequence[TrunkLine], names: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(
            name,
            justify="left" if name in ("trunk", "teacher", "state") else "right",
            no_wrap=True,
            overflow="ellipsis",
        )
    for line in lines:
        table.add_row(*(_COLUMNS[name](line) for name in names), style=_STYLES.get(line.state))
    return table


_STYLES = {WAITING: "dim", TRAINING: "bold", "silent": "yellow", "failed": "red", "diverged": "red", "blocked": "red"}
"""Colours repeat what the state says."""
