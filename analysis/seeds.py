"""How far the loss moves with the seed: python analysis/seeds.py [RESULTS]

σ is the standard deviation over seeds of weights and data, all measured on one evaluation set, whose own standard
error (``loss_se``) is common to them and cancels in differences.
"""

from __future__ import annotations

import sys

import numpy as np
from published import published_runs
from scipy.stats import chi2


def main(results: str = "results") -> None:
    runs = published_runs("seeds", results)
    cells = runs.groupby(["width", "n_tokens"])
    table = cells.agg(loss=("loss", "mean"), sigma=("loss", "std"), loss_se=("loss_se", "mean"), seeds=("seed", "size"))
    table["sigma_over_loss"] = table["sigma"] / table["loss"]
    print(table.round(4).to_string())
    for name, rows in [("all cells", table), *((f"width {w}", t) for w, t in table.groupby("width"))]:
        print(f"{name}: σ/L = {_pooled(rows)}")
    for tokens, rows in table.groupby("n_tokens"):
        print(f"D = {tokens}: σ/L = {_pooled(rows)}")


def _pooled(table) -> str:
    """Root mean square of σ/L over cells with its 90 % interval, in percent."""
    freedom = (table["seeds"] - 1).sum()
    total = ((table["seeds"] - 1) * table["sigma_over_loss"] ** 2).sum()
    low, high = np.sqrt(total / chi2.ppf([0.95, 0.05], freedom))
    return f"{100 * np.sqrt(total / freedom):.2f} % [{100 * low:.2f}, {100 * high:.2f}], {freedom} degrees of freedom"


if __name__ == "__main__":
    main(*sys.argv[1:])
