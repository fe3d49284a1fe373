"""What each change of the optimizer's defaults does to the loss: python analysis/optimizer.py [RESULTS]

Differences are paired by seed: the compared runs begin with the same weights and read the same text.
"""

from __future__ import annotations

import sys

import numpy as np
from published import published_runs

SETTINGS = ("beta2_half_life_tokens", "weight_decay_timescale_tokens", "z_loss", "grad_clip")


def main(results: str = "results") -> None:
    runs = published_runs("optimizer", results, SETTINGS)
    runs[list(SETTINGS)] = runs[list(SETTINGS)].fillna(np.inf)  # no decay: an endless timescale
    runs["beta2"] = 2 ** (-runs["batch_size"] * runs["context"] / runs["beta2_half_life_tokens"])
    cells = {key: rows.set_index("seed")["loss"] for key, rows in runs.groupby(["batch_size", "beta2", *SETTINGS])}
    default = {key[0]: loss for key, loss in cells.items() if key[2:] == (22_000, np.inf, 0.0, 1.0)}
    print("batch  beta2   half-life  decay timescale  z-loss  clip    loss   − default, paired (± s.e.)")
    for (batch, beta2, half_life, timescale, z_loss, clip), loss in cells.items():
        change = (loss - default[batch]).to_numpy()
        error = change.std(ddof=1) / np.sqrt(len(change))
        print(
            f"{batch:5d}  {beta2:.4f}  {half_life:9.0f}  {timescale:15g}  {z_loss:6g}  {clip:4g}  {loss.mean():6.4f}"
            f"  {change.mean():+.4f} ± {error:.4f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
