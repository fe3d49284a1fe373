"""Recipes on real speeches: size, speed and quality kept, head to head: python analysis/distill_speeches.py [RESULTS]

Where `sweeps/distill_speeches.yaml` or `sweeps/sixtieth.yaml` (W0) was run under RESULTS, exports one student of each
kind with the teacher, times all in llama.cpp, and writes the tables; else prints the published ones. First each recipe
against reading alone, in bits/byte (of W0 bits a symbol), at equal data and at equal FLOPs, with the energy of a
student that reads alone to as low a loss; then the table head to head.

Energy is modelled: 12 W a busy core, 40 GFLOP/s of training (both of scaling/accounting), and the time that the engine
took to write a token.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distill import COLUMNS, READING, show
from published import REFERENCE, published_runs

from scaling.accounting import EnergySettings, forward_flops, training_kwh
from scaling.accounting.energy import CORE_WATTS, JOULES_PER_KWH
from scaling.export.bundle.files import export
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.records import RunRecord, RunStore
from scaling.spec import ModelSpec, teacher_run

TABLE = REFERENCE / "head_to_head.csv"
SWEEP, SIXTIETH = "distill_speeches", "sixtieth"
FLOPS_PER_S = 4e10
ROUNDS, REPEATS = 8, 40
FORMAT = "gguf"
MEASURED = (*COLUMNS, "vocab_size", "n_params_total", "bits_per_byte")


def main(results: str = "results") -> None:
    table = pd.read_csv(TABLE)
    for sweep in (SWEEP, SIXTIETH):
        runs = named(published_runs(sweep, results, columns=MEASURED))
        # The speeds of one teacher and its students are of one hour; those of a sweep that was not run here stay.
        if (Path(results) / sweep / "runs.parquet").exists():
            table = pd.concat([table[table["sweep"] != sweep], head_to_head(sweep, runs, RunStore(results))])
            table.to_csv(TABLE, index=False, float_format="%.6g")
        compared = table[table["sweep"] == sweep]
        for size, own in runs.groupby("n_params_total", sort=False):
            print(f"\n{sweep}, {size:,} parameters, bits/byte")
            show(own[own["teacher"] != "real"])
            rate = compared.loc[compared["n_params_total"] == size, "tokens_per_s"].iloc[0]
            print(f"energy, modelled; a token takes {1e6 * CORE_WATTS / rate:,.0f} µJ\n{energy(own).to_string()}")
        print(f"\nhead to head, {sweep}\n{ratios(compared).to_string(index=False)}")


def named(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs whose recipe says which share of the distribution it is told, and whose loss is in bits/byte."""
    told = runs["teacher"].str.extract("(, .*)", expand=False).fillna("")
    return runs.assign(recipe=runs["recipe"] + told, loss=runs.apply(_bits, axis=1))


def head_to_head(sweep: str, runs: pd.DataFrame, store: RunStore) -> pd.DataFrame:
    """One row for the teacher, and one a kind of student, on the most tokens."""
    teachers = (teacher_run(store.load(run_id).spec.data) for run_id in runs["run_id"])
    (teacher_id,) = {run.run_id for run in teachers if run is not None}
    largest = runs[runs["n_tokens"] == runs["n_tokens"].max()]
    kinds = [group for _, group in largest.groupby(["n_params_total", "recipe", "teacher"], sort=False)]
    records = [store.load(run_id) for run_id in (teacher_id, *(group["run_id"].iloc[0] for group in kinds))]
    bits = [pd.Series([_bits(records[0].row())]), *(group["loss"] for group in kinds)]
    rows = [_facts(record) | _of_seeds(found) for record, found in zip(records, bits, strict=True)]
    rows[0]["recipe"] = "(the teacher)"
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            export(store, one.spec, Path(folder) / str(i), format=FORMAT).model_path for i, one in enumerate(records)
        ]
        # Speed is a matter of the shape: one file of each is timed.
        rates = _rates({record.spec.model: path for record, path in zip(records, paths, strict=True)})
        for row, record, path in zip(rows, records, paths, strict=True):
            row |= {"file_bytes": path.stat().st_size, "tokens_per_s": rates[record.spec.model]}
    return pd.DataFrame(rows).assign(sweep=sweep)


def _facts(record: RunRecord) -> dict[str, object]:
    row, model = record.row(), record.spec.model
    bytes_per_token = row["loss"] / np.log(2) / _bits(row)
    names = ("recipe", "teacher", "run_id", "vocab_size", "width", "n_layers", "n_params_total", "n_tokens")
    return {name: row[name] for name in names} | {
        "forward_flops": forward_flops(model),
        "bytes_per_token": bytes_per_token,
    }


def _bits(row: Mapping[str, Any]) -> float:
    """Bits a byte; of a world, whose tokens are single symbols, bits a token."""
    return row["loss"] / np.log(2) if pd.isna(row["bits_per_byte"]) else row["bits_per_byte"]


def _of_seeds(found: pd.Series) -> dict[str, float]:
    return {"bits_per_byte": found.mean(), "bits_per_byte_se": found.sem(), "seeds": len(found)}


def _rates(paths: Mapping[ModelSpec, Path]) -> dict[ModelSpec, float]:
    """Tokens a second of each shape on one thread: the fastest of all passes, for others only slow them."""
    engine, fastest = LlamaCpp(), dict.fromkeys(paths, 0.0)
    for _ in range(ROUNDS):
        # In turns, so that a slow minute is one for all.
        for model, path in paths.items():
            run = engine.run(path, range(32, 64), n_tokens=8, context=model.context, repeats=REPEATS, threads=1)
            fastest[model] = max(fastest[model], *(run.tokens_per_s_range or ()))
    return fastest


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """How many times smaller and faster than the teacher, and what share of its bits/byte a student keeps."""
    teacher, text_per_s = table.iloc[0], table["tokens_per_s"] * table["bytes_per_token"]
    return pd.DataFrame(
        {
            "recipe": table["recipe"],
            "read": table["teacher"],
            "V": table["vocab_size"],
            "parameters": table["n_params_total"],
            "smaller": (teacher["n_params_total"] / table["n_params_total"]).round(1),
            "smaller_file": (teacher["file_bytes"] / table["file_bytes"]).round(1),
            "tokens/s": table["tokens_per_s"].round(0),
            "faster": (table["tokens_per_s"] / teacher["tokens_per_s"]).round(1),
            "faster_text": (text_per_s / text_per_s.iloc[0]).round(1),
            "bits/byte": table["bits_per_byte"].round(3),
            "se": table["bits_per_byte_se"].round(3),
            "kept": (teacher["bits_per_byte"] / table["bits_per_byte"]).round(3),
        }
    )


def energy(runs: pd.DataFrame) -> pd.DataFrame:
    """Joules of training by each recipe, its teacher's passes included, and of reading alone to as many bits/byte."""
    runs = runs.assign(spent=runs["flops"] + runs["teacher_flops"].fillna(0))
    is_real = runs["teacher"] == "real"
    mean = runs[~is_real].groupby(["recipe", "n_tokens"])[["loss", "spent"]].mean()
    alone = {
        "reading its text": mean.loc[READING],
        "reading real text": runs[is_real].groupby("n_tokens")[["loss", "spent"]].mean(),
    }
    rows = {}
    for recipe, own in mean.drop(READING).groupby(level="recipe"):
        last = own.iloc[-1]
        needed = {name: _flops_to(line, last["loss"]) for name, line in alone.items() if len(line)}
        rows[recipe] = {"its own": _joules(last["spent"]), **{name: _joules(flops) for name, flops in needed.items()}}
    return pd.DataFrame(rows).T.round(1)


def _flops_to(line: pd.DataFrame, loss: float) -> float:
    """Read off the two last volumes: what is beyond them goes on at their slope."""
    x, y = np.log(line["spent"].to_numpy()[-2:]), line["loss"].to_numpy()[-2:]
    return float(np.exp(x[-1] + (loss - y[-1]) * (x[-1] - x[-2]) / (y[-1] - y[-2])))


def _joules(flops: float) -> float:
    kwh = training_kwh(flops, flops_per_s=FLOPS_PER_S, watts=EnergySettings().core_watts(1))
    return kwh * JOULES_PER_KWH


if __name__ == "__main__":
    main(*sys.argv[1:])
