"""Where the best learning rate lies at each width: python analysis/lr_transfer.py [RESULTS]

The base rate is the hidden matrices' rate times width/32; under µP its optimum stays put.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from published import published_runs

from scaling.fit.tuning.best_value import fit_best_value


def main(results: str = "results") -> None:
    runs = published_runs("lr_transfer", results)
    runs["base"] = runs["lr"] * runs["width"] / 32
    print(runs.pivot_table(index="width", columns="base", values="loss").round(4).to_string())
    best = {width: fit_best_value(rows["base"], rows["loss"]) for width, rows in runs.groupby("width")}
    print("\nwidth  best base rate  × ÷ (1 s.e.)   loss there  scatter")
    for width, found in best.items():
        print(f"{width:5d}  {found.x:14.3g}  {math.exp(found.log_se):12.3f}  {found.loss:11.4f}  {found.rms:7.4f}")
    slope, error = _slope(np.log(list(best)), best.values())
    print(f"\nbest base rate ∝ width^{slope:.2f} ± {error:.2f} (µP: 0; one rate for all widths would need 1)")


def _slope(log_width: np.ndarray, best) -> tuple[float, float]:
    """Weighted least-squares slope of log best rate, and its standard error."""
    y, scale = np.array([math.log(one.x) for one in best]), 1 / np.array([one.log_se for one in best])
    design = np.stack([np.ones_like(log_width), log_width], axis=1) * scale[:, None]
    covariance = np.linalg.inv(design.T @ design)
    return float((covariance @ design.T @ (y * scale))[1]), math.sqrt(covariance[1, 1])


if __name__ == "__main__":
    main(*sys.argv[1:])
