"""Does the answer of a sweep hang on its seeds? `python analysis/repetitions.py [SWEEP.yaml --repeat N]`

With a sweep, runs its whole chain N times, each time with other seeds of weights and data, and adds a row a repetition
to results/reference/repetitions.csv; what is there is not run again. Prints the table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from published import REFERENCE

from scaling.chain.run import ChainResult, run_chain
from scaling.chain.workspace import Workspace
from scaling.config.load import load_sweep
from scaling.errors import Preempted, ScalingError

TABLE = REFERENCE / "repetitions.csv"
KEY = ["sweep", "repetition"]


def main(*words: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", nargs="?", type=Path)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", default="results")
    parser.add_argument("--table", type=Path, default=TABLE)
    asked = parser.parse_args(words)
    if asked.sweep:
        for number in range(asked.repeat):
            repeat(asked.sweep, number, results=asked.results, jobs=asked.jobs, table=asked.table)
    show(pd.read_csv(asked.table))


def repeat(sweep: Path, number: int, *, results: str, jobs: int, table: Path) -> None:
    """One repetition, unless the table has it."""
    name, n_seeds = (config := load_sweep(sweep)).name, len(config.seeds or [0])
    rows = pd.read_csv(table) if table.exists() else pd.DataFrame(columns=KEY)
    if ((rows["sweep"] == name) & (rows["repetition"] == number)).any():
        return
    seeds = list(range(n_seeds * number, n_seeds * (number + 1)))
    # Each has a folder of its own; runs that repetitions share, as a teacher's, are trained once.
    workspace = Workspace.open(sweep, results=results, overrides=[f"name={name}-{number}", f"seeds={seeds}"])
    row: dict[str, Any] = {"sweep": name, "repetition": number, "seeds": " ".join(map(str, seeds))}
    try:
        row |= outcome(run_chain(workspace, jobs=jobs, say=lambda line: print(f"{name} {number}: {line}", flush=True)))
    except Preempted:
        raise
    except ScalingError as error:
        row |= {"answer": f"none: {error}"}
    pd.concat([rows, pd.DataFrame([row])], ignore_index=True).sort_values(KEY).to_csv(
        table, index=False, float_format="%.6g"
    )


def outcome(found: ChainResult) -> dict[str, Any]:
    """What a chain answered, and how that turned out."""
    first, answer = found.tries[0].recommendation, found.answer
    choice, fit, question = answer.recommendation.choice, answer.fit, answer.recommendation.question
    low, high = fit.interval()["E"] if "E" in fit.params else (None, None)
    return {
        "answer": "given",
        "law": fit.law.name,
        "E": fit.params.get("E"),
        "E_low": low,
        "E_high": high,
        "E_exact": answer.record.outcome.entropy,
        "floor_shown": fit.success,
        "width": choice.run.model.width,
        "n_tokens": choice.run.n_tokens,
        "basis": "forecast" if choice.measured is None else "measured",
        "probability": choice.probability,
        "first_width": first.run.model.width,
        "first_probability": first.probability,
        "first_met": found.tries[0].verification.target_met,
        "target": question.target_loss,
        "forecast": choice.prediction.value,
        "forecast_low": choice.prediction.low,
        "forecast_high": choice.prediction.high,
        "measured": getattr(answer.record.outcome, fit.columns["loss"]),
        "met": answer.verification.target_met,
        "tries": len(found.tries),
        "train_s": next(stage.seconds for stage in found.stages if stage.name == "train"),
    }


def show(rows: pd.DataFrame) -> None:
    """The table, and what it says of each sweep."""
    for name, of_sweep in rows.groupby("sweep"):
        print(f"{name}\n{_columns(of_sweep).to_string(index=False)}\n")
        given = of_sweep[of_sweep["answer"] == "given"]
        sure = given[given["first_probability"] >= 0.9]
        print(
            f"{name}: {len(given)} of {len(of_sweep)} repetitions have an answer; widths chosen: "
            f"{given['width'].value_counts().to_dict()}; chosen at P >= .9 and met: "
            f"{int((sure['first_met'] == True).sum())} of {len(sure)}"  # noqa: E712 — read from text, may be missing
        )
        inside = (given["forecast_low"] <= given["measured"]) & (given["measured"] <= given["forecast_high"])
        off = (given["forecast"] / given["measured"] - 1).abs().mean()
        print(f"  measured inside the law's 90 % interval: {int(inside.sum())} of {len(given)}; mean error {off:.2%}")
        known = given.dropna(subset=["E_exact"])
        if len(known):
            holds = (known["E_low"] <= known["E_exact"]) & (known["E_exact"] <= known["E_high"])
            off = (known["E"] - known["E_exact"]).abs().mean()
            print(
                f"  E: median {known['E'].median():.3f}, {known['E'].min():.3f} to {known['E'].max():.3f}, off by "
                f"{off:.3f} on average; its interval holds the exact {known['E_exact'].iloc[0]:.4f} in "
                f"{int(holds.sum())} of {len(known)}"
            )


def _columns(rows: pd.DataFrame) -> pd.DataFrame:
    shown = ["repetition", "law", "E", "E_low", "E_high", "width", "basis", "probability", "target", "forecast"]
    return rows[[*shown, "measured", "met", "tries"]].round(4)


if __name__ == "__main__":
    main(*sys.argv[1:])
