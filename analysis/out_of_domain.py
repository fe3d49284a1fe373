"""What a student of one kind of prose loses on another: python analysis/out_of_domain.py [RESULTS]

Losses on speeches, which students or their teachers have read, and on novels, which nobody has, beside those of who
knows how often each token comes in speeches and no more.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import published_runs

COLUMNS = ("bits_per_byte", "ood_loss", "ood_loss_se", "ood_bits_per_byte", "unigram_loss", "ood_unigram_loss")


def main(results: str = "results") -> None:
    runs = published_runs("out_of_domain", results, columns=COLUMNS)
    runs["gap"] = runs["ood_loss"] - runs["loss"]
    (own, other), *_ = runs[["unigram_loss", "ood_unigram_loss"]].to_numpy()
    print(f"unigram: {own:.3f} on speeches, {other:.3f} on novels, gap {other - own:.3f} nats/token")
    cells = runs.set_index(["teacher", "width", "n_tokens"]).sort_index()
    shown = ["loss", "loss_se", "ood_loss", "ood_loss_se", "gap", "bits_per_byte", "ood_bits_per_byte"]
    print(cells[shown].round(4).to_string())
    real = runs[runs["teacher"] == "real"]
    slope, _, spread = line(real)
    print(f"real text, one line for all sizes: d gap / d loss = {slope:.3f}, students off it by {spread:.4f} (rms)")
    for teacher, rows in runs[runs["teacher"] != "real"].groupby("teacher"):
        off = rows["gap"] - on_line(real, rows["loss"])
        error = np.hypot(off.std(), spread) / len(rows) ** 0.5
        print(f"{teacher}: at the same loss on speeches its students' gap differs by {off.mean():+.4f} ± {error:.4f}")


def line(runs: pd.DataFrame) -> tuple[float, float, float]:
    """Slope and height of the gap over the loss, and the spread about it."""
    slope, height = np.polyfit(runs["loss"], runs["gap"], 1)
    off = runs["gap"] - slope * runs["loss"] - height
    return float(slope), float(height), float(np.sqrt((off**2).sum() / (len(runs) - 2)))


def on_line(runs: pd.DataFrame, loss: pd.Series) -> pd.Series:
    """The gap that students of some runs have at these losses."""
    slope, height, _ = line(runs)
    return slope * loss + height


if __name__ == "__main__":
    main(*sys.argv[1:])
