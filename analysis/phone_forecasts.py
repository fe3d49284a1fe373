"""Forecast beside measured on students of two sweeps, in every phone engine: analysis/phone_forecasts.py

    scaling run sweeps/quickstart.yaml; scaling sweep sweeps/speeches_small.yaml; scaling fit sweeps/speeches_small.yaml
    python analysis/phone_forecasts.py [RESULTS]

Exports each width of both sweeps as a recommendation would, in the format of each engine that is installed here,
verifies it, publishes what was forecast and measured, and prints the table. Then it times the files of each engine in
rounds, by the clock of the processor, so that neither a drifting pace nor other programs are taken for a difference of
sizes. The forecast of a speed is calibrated on the students of the other widths in that engine.
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

from scaling.accounting import STORED_FORMATS
from scaling.chain.decision import load_fit, rounding_of
from scaling.chain.workspace import Workspace
from scaling.errors import EngineError
from scaling.export.bundle.files import Bundle, export
from scaling.export.engine import engine_for
from scaling.export.ledger.rows import LedgerRow, ledger_row
from scaling.export.timing import time_in_rounds
from scaling.export.verify import HERE, verify
from scaling.predict.measured import runs_of_fit
from scaling.predict.phones.calibrate import MeasuredRate, calibrate
from scaling.predict.phones.devices import device
from scaling.predict.phones.speed import decode_speed
from scaling.predict.question import Question
from scaling.predict.recommend.of_sweep import recommend_of_sweep
from scaling.records import RunStore

TABLE = REFERENCE / "phone_forecasts.csv"
SWEEPS = ("quickstart", "speeches_small")
FORMATS = ("gguf", "onnx", "litert")
COLUMNS = (
    *("sweep", "run_id", "width", "n_params_total", "engine", "load_average", "file_bytes_forecast"),
    *("file_bytes_measured", "peak_bytes_forecast", "peak_bytes_measured", "loss_float", "loss_int8", "int8_cost"),
    *("int8_cost_se", "damage_forecast", "damage_low", "damage_high", "tokens_per_s_rounds", "rounds_spread"),
    *("tokens_per_s_calibrated", "format"),
)


def main(results: str = "results") -> None:
    if all((Path(results) / name / "fit.json").exists() for name in SWEEPS):
        with tempfile.TemporaryDirectory() as folder:
            measured = [
                (asdict(row) | {"width": width}, bundle)
                for format in FORMATS
                if is_installed(format)
                for name in SWEEPS
                for width, row, bundle in verified(name, Path(results), Path(folder), format)
            ]
            rows = pd.DataFrame([row for row, _ in measured])
            rows[["tokens_per_s_rounds", "rounds_spread", "load_average"]] = timed([bundle for _, bundle in measured])
        rows["tokens_per_s_calibrated"] = calibrated(rows, RunStore(results))
        rows[list(COLUMNS)].to_csv(TABLE, index=False, float_format="%.7g")
    show(pd.read_csv(TABLE))


def is_installed(format: str) -> bool:
    """Whether the engine of a format is here; says what is left out."""
    try:
        engine_for(format).probe()
    except EngineError as error:
        print(f"without {format}: {error}")
        return False
    return True


def verified(name: str, results: Path, folder: Path, format: str) -> Iterator[tuple[int, LedgerRow, Bundle]]:
    """The student of each width that read most real text, exported and run as a recommendation would be."""
    workspace = Workspace.open(ROOT / f"sweeps/{name}.yaml", results=results)
    fit, store = load_fit(workspace), workspace.store
    known, rounding = runs_of_fit(fit, workspace.table_path), rounding_of(workspace)
    for width in sorted({run.model.width for run in workspace.runs}):
        of_width = [run for run in workspace.runs if (run.model.width, run.data.label) == (width, "real")]
        # Whatever is better than guessing will do: asked for is this width, not a loss.
        asked = Question.of(
            workspace.config,
            target_loss=math.log(of_width[0].model.vocab_size),
            teacher={"kind": "real"},
            widths=(width,),
            tokens=max(run.tokens for run in of_width),
            format=format,
        )
        told = recommend_of_sweep(asked, fit, workspace.config, workspace.runs, store, known=known, rounding=rounding)
        place = folder / f"{name}-{width}-{format}"
        bundle = export(store, told.run, place, format=format, recommendation=told, fit=fit)
        found = verify(bundle, store, told, loss_name=fit.columns["loss"], device_name=HERE, rounding=rounding)
        yield width, ledger_row(name, fit, told, found), bundle


def timed(bundles: list[Bundle]) -> list[tuple[float, float, float]]:
    """Rate of each file among those of its engine, its scatter between rounds, and the highest load beside it."""
    found = {}
    for format in FORMATS:
        of_engine = [one for one in bundles if one.manifest.format == format]
        for one in time_in_rounds(of_engine) if of_engine else ():
            found[one.bundle.path] = (one.tokens_per_s, one.spread, one.load_average)
    return [found[one.path] for one in bundles]


def calibrated(rows: pd.DataFrame, store: RunStore) -> list[float]:
    """Tokens/s of each student, from the rates of those of the other widths in the same engine."""
    out = []
    for _, row in rows.iterrows():
        others = rows[(rows["format"] == row["format"]) & (rows["width"] != row["width"])]
        engine, storage = STORED_FORMATS[row["format"]].engine, STORED_FORMATS[row["format"]].storage
        known = [rate(other, store) for _, other in others.iterrows()]
        here = calibrate(device(HERE), known, engine=engine).device
        model = store.load(row["run_id"]).spec.model
        out.append(decode_speed(model, here, storage=storage, engine=engine).tokens_per_s)
    return out


def rate(row: pd.Series, store: RunStore) -> MeasuredRate:
    """The rate of a row, as a device is calibrated on it."""
    model, storage = store.load(row["run_id"]).spec.model, STORED_FORMATS[row["format"]].storage
    return MeasuredRate.of(row["run_id"], model, storage, float(row["tokens_per_s_rounds"]))


def show(rows: pd.DataFrame) -> None:
    """One line a student and format, and the worst of each column."""
    peak = rows["peak_bytes_measured"] / rows["peak_bytes_forecast"] - 1
    speed = rows["tokens_per_s_rounds"] / rows["tokens_per_s_calibrated"] - 1
    error = 1.645 * rows["int8_cost_se"]
    inside = (rows["int8_cost"] >= rows["damage_low"] - error) & (rows["int8_cost"] <= rows["damage_high"] + error)
    table = pd.DataFrame(
        {
            "sweep": rows["sweep"],
            "width": rows["width"],
            "format": rows["format"],
            "parameters": rows["n_params_total"].map("{:,}".format),
            "file": rows["file_bytes_measured"].map("{:,}".format),
            "off": rows["file_bytes_measured"] - rows["file_bytes_forecast"],
            "peak MiB": (rows["peak_bytes_measured"] / 2**20).round(2),
            "peak off": peak.map("{:+.1%}".format),
            "int8 damage": rows["int8_cost"].map("{:+.5f}".format),
            "inside": inside,
            "tokens/s": rows["tokens_per_s_rounds"].round(),
            "rounds": rows["rounds_spread"].map("± {:.0%}".format),
            "calibrated": rows["tokens_per_s_calibrated"].round(),
            "speed off": speed.map("{:+.0%}".format),
        }
    )
    print(table.to_string(index=False))
    engines = ", ".join(rows["engine"].unique())
    n, load, exact = len(rows), rows["load_average"], int((table["off"] == 0).sum())
    by_engine = speed.abs().groupby(rows["format"]).max()
    worst = ", ".join(f"{by_engine[one]:.0%} ({one})" for one in FORMATS if one in by_engine)
    print(
        f"{rows['run_id'].nunique()} students of {rows['sweep'].nunique()} sweeps in {engines}, "
        f"load {load.min():.1f} – {load.max():.1f}: {exact} of {n} files exact; peak memory off by "
        f"{peak.abs().max():.1%} at most; {int(inside.sum())} of {n} damages inside their interval; speed "
        f"off by at most {worst}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
