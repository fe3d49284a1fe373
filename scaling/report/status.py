"""The state of a sweep: once as a table, or followed to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from scaling.formats.plain import to_json
from scaling.numbers import number
from scaling.report.numbers import foreseen
from scaling.report.progress import live_table, redraws
from scaling.report.tables import show
from scaling.sweep.board import board_of

if TYPE_CHECKING:
    from scaling.sweep.status import SweepStatus

WATCH_EVERY_S = 2.0


def show_status(look: Callable[[], SweepStatus], *, watch: bool, as_json: bool) -> None:
    """The state of a sweep, once or until it is finished.

    Followed on a terminal it is the table that the sweep itself shows; elsewhere a line for each run that ends.
    """
    if as_json:
        for state in _until_finished(look, watch):
            print(to_json(state), flush=True)
    elif watch and redraws(sys.stdout):
        _show_live(look)
    else:
        _show_lines(look, watch)


def _until_finished(look: Callable[[], SweepStatus], watch: bool = True) -> Iterator[SweepStatus]:
    """The state at once, then every two seconds until no run is left."""
    while True:
        yield (state := look())
        if not watch or not state.counts["running"] + state.counts["pending"]:
            return
        time.sleep(WATCH_EVERY_S)


def _show_live(look: Callable[[], SweepStatus]) -> None:
    latest = look()
    with live_table(lambda: board_of(latest), sys.stdout):
        for state in _until_finished(look):
            latest = state
    for line in _failed(latest):
        print(line)


def _show_lines(look: Callable[[], SweepStatus], watch: bool) -> None:
    before: dict[str, str] = {}
    for state in _until_finished(look, watch):
        if not before:
            _show_state(state)
        for run in state.runs:
            if before and run.state != before[run.run_id]:
                loss = "" if run.loss is None else f" loss {run.loss:.4f}"
                print(f"{run.trunk_id} run {run.run_id} {run.state}{loss}", flush=True)
        before = {run.run_id: run.state for run in state.runs}


def _show_state(state: SweepStatus) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "state", "teacher", "N", "D", "loss"):
        table.add_column(name, justify="left" if name in ("run", "state", "teacher") else "right")
    for run in state.runs:
        loss = "" if run.loss is None else f"{run.loss:.4f}"
        table.add_row(run.run_id, run.state, run.teacher, number(run.n_params), number(run.n_tokens), loss)
    show(table)
    counts = ", ".join(f"{count} {name}" for name, count in state.counts.items() if count)
    share = state.flops_done / state.flops_total if state.flops_total else 1.0
    settled = "done or given up" if state.counts["failed"] else "done"
    left = f", about {foreseen(state.remaining_s)} left" if state.remaining_s else ""
    pace = f", {state.tokens_per_s:,.0f} tokens/s" if state.counts["running"] else ""
    print(f"\n{counts}; {share:.0%} of the FLOPs {settled}{pace}{left}")
    for worker in state.workers:
        quiet = f", silent for {foreseen(worker.quiet_s)}" if worker.silent else ""
        quiet += ": its process is gone, and the same command goes on with it" if worker.gone else ""
        print(f"  {worker.name}: trunk {worker.trunk_id}, step {worker.step}/{worker.steps}{quiet}")
    for line in _failed(state):
        print(f"  {line}")


def _failed(state: SweepStatus) -> Iterator[str]:
    """Failed runs with the end of their logs."""
    for failure in state.failures:
        yield failure.sentence
        yield from (f"  | {line}" for line in failure.log_tail)
