"""Loss at equal size in three depths: python analysis/shape.py [RESULTS]

Sizes of one group differ by up to 10 %, so losses are first brought to the size of depth 2 by the quickstart's law,
L ∝ E + A/N^alpha. ``shape`` is the loss beside that of depth 2, in percent, with its standard error over seeds.
"""

from __future__ import annotations

import sys

import numpy as np
from published import published_runs

A, ALPHA = 3.523, 0.3165
"""README's law of the quickstart."""


def main(results: str = "results") -> None:
    runs = published_runs("shape", results)
    runs["size"] = np.where(runs["n_params"] < 3e5, "0.2M", "0.4M")
    middle = runs[runs["n_layers"] == 2].groupby("size")["n_params"].first()
    at_middle = A * (runs["size"].map(middle).astype(float) ** -ALPHA - runs["n_params"].astype(float) ** -ALPHA)
    runs["loss"] = runs["loss"] + at_middle
    cells = runs.groupby(["size", "n_layers", "n_tokens"])["loss"].mean().unstack("n_layers")
    print(cells.round(4).to_string())
    # Differences between seeds of one cell are what a shape's effect has to exceed.
    sigma = np.sqrt(runs.groupby(["size", "n_layers", "n_tokens"])["loss"].var().mean())
    for depth in (1, 4):
        off = 100 * (cells[depth] / cells[2] - 1)
        error = 100 * sigma * np.sqrt(2 / 2 / len(off)) / cells[2].mean()
        print(f"{depth} layers beside 2: {off.mean():+.2f} % ± {error:.2f}, from {off.min():+.2f} to {off.max():+.2f}")
    print(f"seeds: {100 * sigma / cells[2].mean():.2f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
