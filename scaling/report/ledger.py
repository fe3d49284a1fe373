"""The ledger as tables: each student's forecast beside its measurement, then how good the forecasts were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from scaling.export.ledger.score import damage_inside
from scaling.numbers import size
from scaling.report.tables import key_values, show

if TYPE_CHECKING:
    from scaling.export.ledger.rows import Value
    from scaling.export.ledger.score import Errors, Score

COLUMNS = ("sweep", "run", "format", "target", "forecast", "measured", "damage", "peak", "tokens/s", "promises")

_MARKS = {True: " ok", False: " out", None: ""}
"""Of a measurement, by whether it lies in what was forecast."""


def show_ledger(rows: Sequence[dict[str, Value]], found: Score) -> None:
    """One line a row, then hit rates and mean errors."""
    table = Table(title="ledger", title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, no_wrap=name != "sweep")
    for row in rows:
        table.add_row(*_cells(row))
    show(table)
    print()
    show(key_values("how good the forecasts were", _facts(found)))


def _cells(row: dict[str, Any]) -> list[str]:
    met = {True: " met", False: " MISSED", None: ""}[row["target_met"]]
    mark = _MARKS[row["loss_in_interval"]]
    probability, measured, rate = row["probability"], row["loss_measured"], row["tokens_per_s_measured"]
    peak = row["peak_bytes_measured"]
    return [
        row["sweep"],
        row["run_id"],
        row["format"] or "",
        f"{row['target_loss']:g}{'' if probability is None else f' P {probability:.2f}'}{met}",
        f"{row['loss_forecast']:.3f} [{row['loss_low']:.3f}, {row['loss_high']:.3f}]",
        "none" if measured is None else f"{measured:.3f}{' seen' if row['seen_before'] else mark}",
        f"{row['int8_cost']:+.4f}{_MARKS[damage_inside(row)]}",
        "" if peak is None else size(peak),
        "" if rate is None else f"{rate:,.0f}",
        "kept" if row["passed"] else "BROKEN",
    ]


def _facts(found: Score) -> dict[str, str]:
    facts = {"rows": f"{found.n_rows}, of {found.n_students} students in an engine (run, fit, format and engine)"}
    if found.losses_inside is None or found.level is None:
        facts["losses"] = "none was forecast: all were runs of their fit"
    else:
        inside = f"{found.losses_inside:.0%} of {found.n_losses} inside their {found.level:.0%} intervals"
        facts["losses"] = f"{inside}{_said(found.loss)}"
    for one in found.targets:
        label = f"targets with P {one.low:g} – {one.high:g}"
        facts[label] = f"{one.met:.0%} of {one.n} met, {one.promised:.0%} promised"
    if found.damage is not None:
        inside = "" if found.damages_inside is None else f"; {found.damages_inside:.0%} inside what was forecast"
        facts["damage"] = f"{found.damage:+.5f} nats/token mean, {found.worst_damage:+.5f} at most{inside}"
    facts["file size"] = _said(found.file).removeprefix("; ")
    facts["peak memory"] = _said(found.peak).removeprefix("; ") or "not measured"
    speeds = "" if found.speeds_inside is None else f"{found.speeds_inside:.0%} inside their range"
    facts["tokens/s"] = speeds + _said(found.speed) or "not measured"
    facts["promises"] = "none" if found.promises_kept is None else f"kept by {found.promises_kept:.0%}"
    return facts


def _said(errors: Errors | None) -> str:
    if errors is None:
        return ""
    return f"; mean error {errors.mean_error:.2%}, worst {errors.worst:.2%}, bias {errors.bias:+.2%} of {errors.n}"
