"""What the ledger measured of speed, as rates that a device is calibrated on."""

from __future__ import annotations

from pathlib import Path

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
    store, rates = RunStore(results), []
    for row in read_ledger(path):
        run_id, per_s = str(row["run_id"]), row["tokens_per_s_measured"]
        if not isinstance(per_s, float) or not store.has(run_id):
            continue
        model = store.load(run_id).spec.model
        storage = STORED_FORMATS[str(row.get("format") or DEFAULT)].storage
        n_bytes = decode_bytes(model, storage, position=model.context // 2)
        rates.append(MeasuredRate(model=run_id, n_layers=model.n_layers, n_bytes=n_bytes, tokens_per_s=per_s))
    if not rates:
        raise RecordError(
            f"{path}: none of its runs was timed in an engine and lies in {results} — name the results folder that it "
            "belongs to with --results"
        )
    return rates
