"""What the ledger measured of speed, as rates that a device is calibrated on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.accounting import DEFAULT_FORMAT, STORED_FORMATS
from scaling.errors import RecordError
from scaling.export.engine import engine_that_said
from scaling.export.ledger.rows import read_ledger
from scaling.predict.phones.calibrate import MeasuredRate
from scaling.records import RunStore


def ledger_rates(path: Path, results: Path, *, engine: str | None = None) -> tuple[str, list[MeasuredRate]]:
    """Measured rates of one engine in the ledger, of runs whose models the results folder knows.

    Args:
        path: The ledger.
        results: The folder that it belongs to.
        engine: Name of the engine; needed where several were timed.

    Returns:
        The engine's name, and its rates.

    Raises:
        RecordError: there is no such ledger; no run of it was timed and lies in the results folder; or it does not
            decide which engine is meant.
    """
    store = RunStore(results)
    timed = [(str(row["engine"]), rate) for row in read_ledger(path) if (rate := _rate(row, store)) is not None]
    if not timed:
        raise RecordError(
            f"{path}: none of its runs was timed in an engine and lies in {results} — name the results folder that it "
            "belongs to with --results"
        )
    # Each engine has constants of its own: rates of two are not those of one device.
    named = [(engine_that_said(said) or said, rate) for said, rate in timed]
    counts = Counter(name for name, _ in named)
    asked = engine or (next(iter(counts)) if len(counts) == 1 else None)
    if asked is None or asked not in counts:
        held = ", ".join(f"{name} ({count})" for name, count in counts.items())
        raise RecordError(
            f"{path}: {f'no run was timed in {asked}' if asked else 'runs were timed in several engines'} — it holds "
            f"{held}; name one with --engine"
        )
    return asked, [rate for name, rate in named if name == asked]


def _rate(row: Mapping[str, Any], store: RunStore) -> MeasuredRate | None:
    """What one row says of speed; None where it was not measured, or nobody knows the model."""
    run_id, per_s = str(row["run_id"]), row["tokens_per_s_measured"]
    if per_s is None or not store.has(run_id):
        return None
    model, format = store.load(run_id).spec.model, str(row.get("format") or DEFAULT_FORMAT)
    # The same weights in another format are another model: they are read at another rate.
    name = run_id if format == DEFAULT_FORMAT else f"{run_id} {format}"
    return MeasuredRate.of(name, model, STORED_FORMATS[format].storage, float(per_s))
