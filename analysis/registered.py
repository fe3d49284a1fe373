"""Registered forecasts beside what was measured, by fit and teacher: python analysis/registered.py [RESULTS]

Each sweep of forecasts (registered*.yaml) was committed, with what a fit of smaller students says of it, before its own
students were trained. Students that RESULTS holds are first added to results/reference/registered.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from published import REFERENCE

from scaling.fit.saved.files import fit_id_of
from scaling.predict.registered import RegisteredForecast, registered_in, score
from scaling.records import load_runs

WRITTEN = REFERENCE / "registered.csv"
FITS = {
    "quickstart": "registered_fit.json",
    "study": "registered_study_fit.json",
    "new teachers": "registered_teachers_fit.json",
    "speeches": "registered_speeches_fit.json",
    "prose": "registered_prose_fit.json",
    "prose, twice the text": "registered_prose_texts_fit.json",
    "prose, an accelerator's": "registered_accelerator_fit.json",
    "whole study": "registered_size_fit.json",
}
"""Whose students are behind the forecasts, and the file of the fit."""
COLUMNS = [
    *("run_id", "trunk_id", "status", "source", "text_id", "teacher", "seed", "n_params", "n_tokens", "width"),
    *("loss", "loss_se", "entropy", "finished_at"),
]
SCORES = ("inside", "mean error", "bias", "P 0.9 kept", "interval score")
BEYOND = 2.0
"""Times the largest size or volume of a fit, from which a forecast counts as one beyond it."""


def main(results: str = "results") -> None:
    forecasts = registered_in(REFERENCE / "forecasts")
    runs = measured(Path(results), {one.run_id for one in forecasts})
    rows = {name: _row(group, runs) for name, group in groups(forecasts)}
    print(pd.DataFrame(rows).T.to_string())
    for miss in [row for row in score(forecasts, runs).rows if row.inside is False and not row.too_late]:
        one = miss.forecast
        print(
            f"missed: {one.run_id}, {one.text}, N {one.n_params:,}, D {one.n_tokens:,}: {one.loss:.4f} "
            f"[{one.low:.4f}, {one.high:.4f}], measured {miss.measured:.4f} ({miss.error:+.2%})"
        )


def measured(results: Path, asked: set[str]) -> pd.DataFrame:
    """The published students, and those that were asked about and a results folder adds."""
    if (results / "runs").exists():
        found = load_runs(results)
        every = pd.concat([found[found["run_id"].isin(asked)], pd.read_csv(WRITTEN)])[COLUMNS]
        every = every.drop_duplicates("run_id", keep="last").sort_values(["source", "run_id"])
        every.to_csv(WRITTEN, index=False, float_format="%.6g")
    return pd.read_csv(WRITTEN)


def groups(forecasts: list[RegisteredForecast]) -> Iterator[tuple[str, list[RegisteredForecast]]]:
    """Forecasts of each fit and text, of each fit, of all beyond their fit, and all."""
    paths = {name: REFERENCE / file for name, file in FITS.items()}
    fits = {fit_id_of(path.read_text("utf-8")): name for name, path in paths.items() if path.exists()}
    named = [(fits[one.fit_id], one) for one in forecasts]
    for fit in dict.fromkeys(fits.values()):
        for text in sorted({one.text for name, one in named if name == fit}):
            yield f"{fit}, {text}", [one for name, one in named if (name, one.text) == (fit, text)]
        yield f"all of {fit}", [one for name, one in named if name == fit]
    yield f"{BEYOND:g}× beyond and more", [one for one in forecasts if one.reach > BEYOND * 0.99]
    yield "all", forecasts


def _row(group: list[RegisteredForecast], runs: pd.DataFrame) -> dict[str, object]:
    known = set(runs["run_id"])
    if not any(one.run_id in known for one in group):
        return {"registered": len(group), "measured": 0} | dict.fromkeys(SCORES, "")
    found = score(group, runs)
    scores = (
        round(found.inside * found.n),
        f"{found.mean_error:.2%}",
        f"{found.bias:+.2%}",
        found.kept,
        round(found.interval_score, 4),
    )
    return {"registered": len(group), "measured": found.n, **dict(zip(SCORES, scores, strict=True))}


if __name__ == "__main__":
    main(*sys.argv[1:])
