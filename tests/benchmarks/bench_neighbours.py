"""Forecasts given the runs nearby, beside the law alone: `python tests/benchmarks/bench_neighbours.py`.

Beyond the runs: the 18 public splits (`bench_hold_out`). Between them: the same tables in three random parts, each
forecast from the others; and the published tables of W0, by cell (all texts of one size and volume) and by trunk. Both
columns are fits of their own: in the one, nobody looked at what neighbours have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from bench_hold_out import DATA, LEVEL, ROOT, interval_score, splits

from scaling.fit.fitter import fit
from scaling.fit.result import Fit

REFERENCE = ROOT / "results" / "reference"
PUBLIC = {"n": "n", "d": "d", "clusters": None}
W0 = {"n": "n_params", "d": "n_tokens"}
LARGER = ((1_599_744, 1e6, 1.689), (1_599_744, 2e6, 1.641), (1_599_744, 4e6, 1.609))
"""Width 256 of the quickstart on text of noise 0.2, not in its table: N, D, loss (analysis/LOG.md, 2026-11-26)."""
BETWEEN = ((221_664, 1e6, 1.71622), (221_664, 1e6, 1.71656), (221_664, 1e6, 1.71761))
"""Width 96 there, as three machines trained it (results/reference/ledger.csv)."""

Score = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of each held-out run: absolute relative error, whether it lies inside, interval score."""


def both(runs: pd.DataFrame, **options) -> tuple[Fit, Fit]:
    """The law alone, and given its runs."""
    with patch("scaling.fit.neighbours.SHARES", (0.0,)):
        alone = fit(runs, bootstrap=0, strict=False, **options)
    return alone, fit(runs, bootstrap=0, strict=False, **options)


def scored(found: Fit, held_out: pd.DataFrame, n: str, d: str) -> Score:
    """How a fit forecasts runs that it did not see."""
    texts = held_out.text_id if "text_id" in held_out else pd.Series("real", index=held_out.index)
    ends = np.empty((3, len(held_out)))
    for text in texts.unique():
        rows = (texts == text).to_numpy()
        sizes = (held_out[name].to_numpy(float)[rows] for name in (n, d))
        told = found.predict(*sizes, teacher=text if found.texts else None, level=LEVEL, force=True)
        ends[:, rows] = told.low, told.value, told.high
    low, value, high = ends
    truth = held_out.loss.to_numpy()
    each = [interval_score(*each) for each in zip(low, high, truth, strict=True)]
    return np.abs(value / truth - 1), (low <= truth) & (truth <= high), np.array(each)


def parts_of(runs: pd.DataFrame, count: int) -> Iterator[pd.Index]:
    """Rows in random parts."""
    order = np.random.default_rng(0).permutation(len(runs))
    yield from (runs.index[part] for part in np.array_split(order, count))


def groups_of(*names: str) -> Callable[[pd.DataFrame], Iterator[pd.Index]]:
    """Rows that are alike in these columns."""
    return lambda runs: (group.index for _, group in runs.groupby(list(names)))


def held_out(runs: pd.DataFrame, parts: Iterator[pd.Index], **options) -> tuple[Score, Score]:
    """Every part forecast from the others: by the law alone, and given the runs."""
    sizes = {axis: options[axis] for axis in ("n", "d")}
    pairs = [[scored(found, runs.loc[part], **sizes) for found in both(runs.drop(part), **options)] for part in parts]
    alone, given = (tuple(map(np.concatenate, zip(*one, strict=True))) for one in zip(*pairs, strict=True))
    return alone, given


def told(name: str, scores: tuple[Score, Score]) -> None:
    """One line: error in per cent, share inside, interval score."""
    cells = [f"{100 * e.mean():.2f} | {inside.mean():.0%} | {score.mean():.4f}" for e, inside, score in scores]
    print(f"| {name} | {len(scores[0][0])} | {' | '.join(cells)} |", flush=True)


def bench_beyond() -> None:
    """The larger runs of 18 public splits, from the smaller ones."""
    every = []
    for name, small, large in splits():
        scores = tuple(scored(found, large, "n", "d") for found in both(small, **PUBLIC))
        told(name, scores)
        every.append(scores)
    summary("18 splits", every)


def bench_between() -> None:
    """Runs of the same tables, in three random parts."""
    every = []
    for name, small, large in splits():
        runs = pd.concat([small, large], ignore_index=True)
        every.append(held_out(runs, parts_of(runs, 3), **PUBLIC))
        told(f"{name}, three parts", every[-1])
    summary("18 tables, three parts", every)


def summary(name: str, every: list[tuple[Score, Score]]) -> None:
    """Error and interval score as means over tables, coverage over all runs."""
    cells = []
    for side in (0, 1):
        errors, scores = ([np.mean(one[side][i]) for one in every] for i in (0, 2))
        inside = np.concatenate([one[side][1] for one in every])
        cells.append(f"{100 * np.mean(errors):.3f} | {inside.mean():.1%} | {np.mean(scores):.4f}")
    worst = max(np.mean(one[1][0]) / np.mean(one[0][0]) for one in every)
    print(f"| **{name}** | {len(inside)} | {' | '.join(cells)} | worst {worst:.2f} × |", flush=True)


def bench_w0() -> None:
    """The published tables of W0, and runs beside the quickstart's."""
    ways = {"cell": groups_of("n_params", "n_tokens"), "trunk": groups_of("n_params", "teacher")}
    quickstart = pd.read_csv(REFERENCE / "quickstart.csv")
    for name, parts in ways.items():
        told(f"quickstart, one {name} left out", held_out(quickstart, parts(quickstart), **W0))
    seeds, mixture = (pd.read_csv(REFERENCE / f"{name}.csv") for name in ("seeds", "mixture"))
    told("seeds, one cell left out", held_out(seeds, ways["cell"](seeds), **W0))
    told("mixture, twelve parts", held_out(mixture, parts_of(mixture, 12), **W0))
    fits = both(quickstart, **W0)
    for n, d, loss in (*BETWEEN[:1], *LARGER):
        told_of = [found.predict(n, d, teacher="noise 0.2") for found in fits]
        cells = ", ".join(f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}] ({one.basis})" for one in told_of)
        print(f"quickstart, N = {n:,}, D = {d:g}, measured {loss:.4f} | {cells}")


def main() -> None:
    """All parts, where the tables are."""
    columns = "error % | inside | interval score"
    print(f"| held out | runs | law alone: {columns} | given runs: {columns} |")
    bench_w0()
    if not (Path(DATA) / "splits.py").is_file():
        print(f"skipped: no {DATA / 'splits.py'} (set SCALING_SHARED)")
        return
    bench_beyond()
    bench_between()


if __name__ == "__main__":
    main()
