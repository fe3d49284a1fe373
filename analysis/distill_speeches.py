"""Recipes on real speeches: size, speed and quality kept, head to head: python analysis/distill_speeches.py [RESULTS]

Where the sweep was run under RESULTS, exports one student of each kind with the teacher, times all in llama.cpp, and
writes the tables; else prints the published ones. First each recipe against reading alone, in bits/byte, at equal data
and at equal FLOPs; then the table head to head; then the energy of a student that reads alone to as low a loss.

Energy is modelled: 12 W a busy core, 40 GFLOP/s of training (both of scaling/accounting), and the time that the engine
took to write a token.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from distill import COLUMNS, READING, show
from published import REFERENCE, published_runs

from scaling.accounting import EnergySettings, forward_flops, training_kwh
from scaling.accounting.energy import CORE_WATTS, JOULES_PER_KWH
from scaling.export.bundle import export
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.records import RunRecord, RunStore
from scaling.spec import ModelSpec, teacher_run

TABLE = REFERENCE / "head_to_head.csv"
FLOPS_PER_S = 4e10
ROUNDS, REPEATS = 8, 40
FORMAT = "gguf"
MEASURED = (*COLUMNS, "vocab_size", "n_params_total", "bits_per_byte")


def main(results: str = "results") -> None:
    runs = published_runs("distill_speeches", results, columns=MEASURED)
    if (Path(results) / "distill_speeches" / "runs.parquet").exists():
        head_to_head(runs, RunStore(results)).to_csv(TABLE, index=False, float_format="%.6g")
    for vocab_size, own in runs.groupby("vocab_size"):
        print(f"\n{vocab_size} tokens, {own['n_params_total'].iloc[0]:,} parameters, bits/byte")
        show(own.assign(loss=own["bits_per_byte"]))
    table = pd.read_csv(TABLE)
    print("\nhead to head\n" + ratios(table).to_string(index=False))
    print("\nenergy (modelled)")
    for vocab_size, own in runs.groupby("vocab_size"):
        for recipe in own["recipe"].unique():
            if recipe != READING:
                print(_energy(own, recipe, table[table["vocab_size"] == vocab_size]))


def head_to_head(runs: pd.DataFrame, store: RunStore) -> pd.DataFrame:
    """One row a kind of student, on the most tokens, and one for the teacher."""
    largest = runs[runs["n_tokens"] == runs["n_tokens"].max()]
    kinds = [group for _, group in largest.groupby(["vocab_size", "recipe"], sort=False)]
    records = [store.load(group["run_id"].iloc[0]) for group in kinds]
    teacher = teacher_run(records[0].spec.data)
    records = [store.load(teacher.run_id), *records]
    quality = [pd.Series([records[0].outcome.bits_per_byte]), *(group["bits_per_byte"] for group in kinds)]
    rows = [_facts(record) | _of_seeds(found) for record, found in zip(records, quality, strict=True)]
    rows[0]["recipe"] = "(the teacher)"
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            export(store, one.spec, Path(folder) / str(i), format=FORMAT).model_path for i, one in enumerate(records)
        ]
        # Speed is a matter of the shape: one file of each is timed.
        rates = _rates({record.spec.model: path for record, path in zip(records, paths, strict=True)})
        for row, record, path in zip(rows, records, paths, strict=True):
            row |= {"file_bytes": path.stat().st_size, "tokens_per_s": rates[record.spec.model]}
    return pd.DataFrame(rows)


def _facts(record: RunRecord) -> dict[str, object]:
    row, model = record.row(), record.spec.model
    bytes_per_token = row["loss"] / np.log(2) / row["bits_per_byte"]
    names = ("recipe", "run_id", "vocab_size", "width", "n_layers", "n_params_total", "n_tokens")
    return {name: row[name] for name in names} | {
        "forward_flops": forward_flops(model),
        "bytes_per_token": bytes_per_token,
    }


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


def _energy(runs: pd.DataFrame, recipe: str, table: pd.DataFrame) -> str:
    """Training energy of a recipe, and of reading alone to the same bits/byte."""
    mean = runs.groupby(["recipe", "n_tokens"])[["bits_per_byte", "flops", "teacher_flops"]].mean()
    own, alone = mean.loc[recipe].iloc[-1], mean.loc[READING]
    total = alone["flops"] + alone["teacher_flops"]
    # Read off the two last volumes: what is beyond them goes on at their slope.
    x, y = np.log(total.to_numpy()[-2:]), alone["bits_per_byte"].to_numpy()[-2:]
    needed = np.exp(x[-1] + (own["bits_per_byte"] - y[-1]) * (x[-1] - x[-2]) / (y[-1] - y[-2]))
    spent = own["flops"] + own["teacher_flops"]
    joules = {name: f"{_kwh(flops) * JOULES_PER_KWH:,.0f} J" for name, flops in (("own", spent), ("alone", needed))}
    rate = table.set_index("recipe").loc[recipe, "tokens_per_s"]
    return (
        f"{recipe}, V {table['vocab_size'].iloc[0]}: {joules['own']} of training, reading alone to as many bits/byte "
        f"{joules['alone']} ({needed / spent:.2f} times); both {1e6 * CORE_WATTS / rate:,.0f} µJ a token"
    )


def _kwh(flops: float) -> float:
    return training_kwh(flops, flops_per_s=FLOPS_PER_S, watts=EnergySettings().core_watts(1))


if __name__ == "__main__":
    main(*sys.argv[1:])
