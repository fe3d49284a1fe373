"""What the ledger measured of speed, as rates that a device is calibrated on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling.accounting import STORED_FORMATS, decode_bytes
from scaling.errors import RecordError
from scaling.export.ledger import read_ledger
from scaling.predict.calibrate import MeasuredRate
from scaling.records import RunStore

DEFAULT = "gguf"


def ledger_rates(path: Path, results: Path) -> list[MeasuredRate]:
    """Measured rates of the ledger's runs, of which the results folder knows the models.

    Raises:
        RecordError: there is no such ledger, or no run of it was timed and lies in the results folder.
    """
    store = RunStore(results)
    rates = [rate for row in read_ledger(path) if (rate := _rate(row, store)) is not None]
    if not rates:
        raise RecordError(
            f"{path}: none of its runs was timed in an engine and lies in {results} — name the results folder that it "
            "belongs to with --results"
        )
    return rates


def _rate(row: Mapping[str, Any], store: RunStore) -> MeasuredRate | None:
    """What one row says of speed; None where it was not measured, or nobody knows the model."""
    run_id, per_s = str(row["run_id"]), row["tokens_per_s_measured"]
    if per_s is None or not store.has(run_id):
        return None
    model = store.load(run_id).spec.model
    storage = STORED_FORMATS[str(row.get("format") or DEFAULT)].storage
    n_bytes = decode_bytes(model, storage, position=model.context // 2)
    return MeasuredRate(model=run_id, n_layers=model.n_layers, n_bytes=n_bytes, tokens_per_s=float(per_s))
