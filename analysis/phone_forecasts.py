"""Forecast beside measured on students of two sweeps, exported and run by llama.cpp: analysis/phone_forecasts.py

    scaling run sweeps/quickstart.yaml; scaling sweep sweeps/speeches_small.yaml; scaling fit sweeps/speeches_small.yaml
    python analysis/phone_forecasts.py [RESULTS]

Exports each width of both sweeps as a recommendation would, verifies it, publishes what was forecast and measured, and
prints the table. Speed is the best of five, which other programs disturb least, and its forecast is calibrated on the
students of the other widths; beside a load it is not judged.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from published import REFERENCE, ROOT

from scaling.accounting import STORED_FORMATS, decode_bytes
from scaling.chain.decision import load_fit, rounding_of
from scaling.chain.workspace import Workspace
from scaling.export.bundle import export
from scaling.export.ledger import LedgerRow, ledger_row
from scaling.export.verify import HERE, verify
from scaling.predict.calibrate import MeasuredRate, calibrate
from scaling.predict.devices import device
from scaling.predict.measured import runs_of_fit
from scaling.predict.question import Question
from scaling.predict.recommend_of_sweep import recommend_of_sweep
from scaling.predict.speed import decode_speed
from scaling.records import RunStore

TABLE = REFERENCE / "phone_forecasts.csv"
SWEEPS = ("quickstart", "speeches_small")
IDLE = 1.0
"""Load up to which a rate is one of this machine and not of what else runs on it."""
COLUMNS = ["sweep", "run_id", "width", "n_params_total", "engine", "load_average", "file_bytes_forecast"]
COLUMNS += ["file_bytes_measured", "peak_bytes_forecast", "peak_bytes_measured", "loss_float", "loss_int8", "int8_cost"]
COLUMNS += [
    "int8_cost_se",
    "damage_forecast",
    "damage_low",
    "damage_high",
    "tokens_per_s_measured",
    "tokens_per_s_best",
]
COLUMNS += ["tokens_per_s_calibrated"]


def main(results: str = "results") -> None:
    if all((Path(results) / name / "fit.json").exists() for name in SWEEPS):
        rows = pd.DataFrame(
            [asdict(row) | {"width": width} for name in SWEEPS for width, row in verified(name, Path(results))]
        )
        rows["tokens_per_s_calibrated"] = calibrated(rows, RunStore(results))
        rows[COLUMNS].to_csv(TABLE, index=False, float_format="%.7g")
    show(pd.read_csv(TABLE))


def verified(name: str, results: Path) -> Iterator[tuple[int, LedgerRow]]:
    """The student of each width that read most real text, exported and run as a recommendation would be."""
    workspace = Workspace.open(ROOT / f"sweeps/{name}.yaml", results=results)
    fit, store = load_fit(workspace), workspace.store
    known, rounding = runs_of_fit(workspace.table_path), rounding_of(workspace)
    for width in sorted({run.model.width for run in workspace.runs}):
        of_width = [run for run in workspace.runs if (run.model.width, run.data.label) == (width, "real")]
        # Whatever is better than guessing will do: asked for is this width, not a loss.
        asked = Question.of(
            workspace.config,
            target_loss=math.log(of_width[0].model.vocab_size),
            teacher={"kind": "real"},
            widths=(width,),
            tokens=max(run.tokens for run in of_width),
        )
        told = recommend_of_sweep(asked, fit, workspace.config, workspace.runs, store, known=known, rounding=rounding)
        with tempfile.TemporaryDirectory() as folder:
            bundle = export(store, told.run, Path(folder) / "bundle", recommendation=told, fit=fit)
            found = verify(bundle, store, told, loss_name=fit.columns["loss"], rounding=rounding)
        yield width, ledger_row(name, fit, told, found)


def calibrated(rows: pd.DataFrame, store: RunStore) -> list[float]:
    """Tokens/s of each student, from the rates of those of the other widths."""
    models = [store.load(run_id).spec.model for run_id in rows["run_id"]]
    storage = STORED_FORMATS["gguf"].storage
    rates = [
        MeasuredRate(
            model=str(run_id),
            n_layers=model.n_layers,
            n_bytes=decode_bytes(model, storage, position=model.context // 2),
            tokens_per_s=float(rate),
        )
        for run_id, model, rate in zip(rows["run_id"], models, rows["tokens_per_s_best"], strict=True)
    ]
    out = []
    for model in models:
        others = [rate for rate, one in zip(rates, models, strict=True) if one.width != model.width]
        here = calibrate(device(HERE), others).device
        out.append(decode_speed(model, here, storage=storage).tokens_per_s)
    return out


def show(rows: pd.DataFrame) -> None:
    """One line a student, and the worst of each column."""
    peak = rows["peak_bytes_measured"] / rows["peak_bytes_forecast"] - 1
    speed = rows["tokens_per_s_best"] / rows["tokens_per_s_calibrated"] - 1
    # What was timed beside other programs says nothing of a forecast of speed.
    idle = rows["load_average"] <= IDLE
    error = 1.645 * rows["int8_cost_se"]
    inside = (rows["int8_cost"] >= rows["damage_low"] - error) & (rows["int8_cost"] <= rows["damage_high"] + error)
    table = pd.DataFrame(
        {
            "sweep": rows["sweep"],
            "width": rows["width"],
            "parameters": rows["n_params_total"].map("{:,}".format),
            "file": rows["file_bytes_measured"].map("{:,}".format),
            "off": rows["file_bytes_measured"] - rows["file_bytes_forecast"],
            "peak MiB": (rows["peak_bytes_measured"] / 2**20).round(2),
            "peak off": peak.map("{:+.1%}".format),
            "int8 damage": rows["int8_cost"].map("{:+.5f}".format),
            "inside": inside,
            "tokens/s": rows["tokens_per_s_best"].round(),
            "calibrated": rows["tokens_per_s_calibrated"].round(),
            "speed off": speed.map("{:+.0%}".format).where(idle, "busy"),
        }
    )
    print(table.to_string(index=False))
    said = f"off by {speed[idle].abs().max():.0%} at most" if idle.any() else "not judged, the machine was busy"
    print(
        f"{len(rows)} students of {rows['sweep'].nunique()} sweeps in {rows['engine'][0]}, load "
        f"{rows['load_average'].min():.1f} – {rows['load_average'].max():.1f}: {int((table['off'] == 0).sum())} files "
        f"exact; peak memory off by {peak.abs().max():.1%} at most; {int(inside.sum())} damages inside their interval; "
        f"speed {said}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
