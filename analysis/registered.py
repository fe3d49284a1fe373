"""Registered forecasts beside what was measured, by source and teacher: python analysis/registered.py [RESULTS]

Forecasts of three fits: of the quickstart, of sweeps/speeches_ngram.yaml and of prose_small.yaml, each committed before
its students (registered.yaml, registered_speeches.yaml, registered_prose.yaml) were trained. Students that RESULTS
holds are first added to results/reference/registered.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from published import REFERENCE

from scaling.predict.registered import RegisteredForecast, Score, registered_in, score
from scaling.records import load_runs

WRITTEN = REFERENCE / "registered.csv"
SWEEPS = ("registered", "registered_speeches", "registered_prose")
COLUMNS = [
    *("run_id", "trunk_id", "status", "source", "text_id", "teacher", "seed", "n_params", "n_tokens", "width"),
    *("loss", "loss_se", "entropy", "finished_at"),
]
BEYOND = 2.0
"""Times the largest size or volume of a fit, from which a forecast counts as one beyond it."""


def main(results: str = "results") -> None:
    runs, forecasts = measured(Path(results)), registered_in(REFERENCE / "forecasts")
    rows = {}
    for name, group in groups(forecasts, runs):
        known = [one for one in group if one.run_id in set(runs["run_id"])]
        rows[name] = _row(score(known, runs)) if known else {}
        rows[name] |= {"registered": len(group)}
    print(pd.DataFrame(rows).T.to_string())
    for miss in [row for row in score(forecasts, runs).rows if row.inside is False]:
        one = miss.forecast
        print(
            f"missed: {one.run_id}, {one.text}, N {one.n_params:,}, D {one.n_tokens:,}: {one.loss:.4f} "
            f"[{one.low:.4f}, {one.high:.4f}], measured {miss.measured:.4f} ({miss.error:+.2%})"
        )


def measured(results: Path) -> pd.DataFrame:
    """The published students, and those that a results folder adds."""
    known = pd.read_csv(WRITTEN)
    found = [load_runs(results / name) for name in SWEEPS if (results / name / "runs.parquet").exists()]
    if not found:
        return known
    every = pd.concat([*found, known])[COLUMNS].drop_duplicates("run_id").sort_values(["source", "run_id"])
    every.to_csv(WRITTEN, index=False, float_format="%.6g")
    return pd.read_csv(WRITTEN)


def groups(forecasts: list[RegisteredForecast], runs: pd.DataFrame) -> Iterator[tuple[str, list[RegisteredForecast]]]:
    """Forecasts of each source and text, of each fit, and all."""
    source = dict(zip(runs["run_id"], runs["source"], strict=True))
    named = [(source.get(one.run_id, "not trained"), one) for one in forecasts]
    for world, text in sorted({(world, one.text) for world, one in named}):
        yield f"{world}, {text}", [one for there, one in named if (there, one.text) == (world, text)]
    for world in sorted({world for world, _ in named}):
        yield f"all of {world}", [one for there, one in named if there == world]
    yield f"{BEYOND:g}× beyond and more", [one for one in forecasts if one.reach > BEYOND * 0.99]
    yield "all", forecasts


def _row(found: Score) -> dict[str, object]:
    return {
        "measured": found.n,
        "inside": round(found.inside * found.n),
        "mean error": f"{found.mean_error:.2%}",
        "bias": f"{found.bias:+.2%}",
        "P 0.9 kept": found.kept,
        "interval score": round(found.interval_score, 4),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
