"""Registered forecasts, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from scaling.numbers import number
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.predict.registered import RegisteredForecast, Score, Scored


def show_registered(forecasts: Sequence[RegisteredForecast], sweep: Path, folder: Path) -> None:
    """What was registered, one line a run, and what to do next."""
    table = _table("N", "D", "beyond", "text", "forecast", "interval", "P 0.9 below", "hash")
    for one in forecasts:
        table.add_row(one.run_id, *_asked(one), f"{one.promised:.4f}", one.hash)
    show(table)
    print(
        f"{len(forecasts)} forecasts in {folder}: commit them, then train with scaling sweep {sweep}, then compare "
        f"with scaling score {folder}"
    )


def show_score(found: Score) -> None:
    """Forecast beside measurement, one line a run, and how good they were together."""
    table = _table("N", "D", "beyond", "text", "forecast", "interval", "measured", "off", "")
    for row in found.rows:
        off = "" if row.error is None else f"{row.error:+.2%}"
        measured = "" if row.measured is None else f"{row.measured:.4f}"
        table.add_row(row.forecast.run_id, *_asked(row.forecast), measured, off, _verdict(row))
    show(table)
    print(found)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("run", *columns):
        table.add_column(name, justify="left" if name in ("run", "text", "") else "right")
    return table


def _asked(one: RegisteredForecast) -> tuple[str, ...]:
    interval = f"{one.low:.4f} – {one.high:.4f}"
    return number(one.n_params), number(one.n_tokens), f"{one.reach:.3g}×", one.text, f"{one.loss:.4f}", interval


def _verdict(row: Scored) -> str:
    """Inside, missed, or why it does not count."""
    if row.measured is None:
        return "not measured"
    if row.too_late:
        return "trained before it was registered: does not count"
    return "inside" if row.inside else "MISSED"
