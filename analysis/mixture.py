"""Real text mixed into a noisy teacher's, in W0: python analysis/mixture.py [RESULTS]

What a student of a mixture loses over a student of real text (same size, same tokens), beside the plateau
``(1 − ρ)·KL`` of the teacher inside and the floor, the KL of the mixed text; then the law `mixture` with both, and
without one of the two, its E free and at the exact entropy.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import over_real, published_runs

import scaling

TEXT = ("real_share", "delta_coverage", "delta_noise", "generator_delta_coverage", "generator_delta_noise")
FLOOR, WRITER = ["delta_coverage", "delta_noise"], ["generator_delta_coverage", "generator_delta_noise"]


def main(results: str = "results") -> None:
    runs = published_runs("mixture", results, columns=TEXT)
    print(losses(runs).to_string(float_format=lambda x: f"{x:.3f}"))
    forms = {
        "plateau and floor": runs,
        "plateau alone": runs.assign(**{name: runs[name].where(runs["real_share"] == 0, 0.0) for name in FLOOR}),
        "floor alone": runs.assign(**{name: runs[floor] for name, floor in zip(WRITER, FLOOR, strict=True)}),
    }
    entropy = float(runs["entropy"].iloc[0])
    for name, table in forms.items():
        for held in ({}, {"E": entropy}):
            fit = scaling.fit_law(table, law="mixture", held=held, strict=False)
            values = "  ".join(f"{key} {value:.4g}" for key, value in fit.law.values.items())
            rms = np.sqrt(np.mean(np.square(list(fit.residuals.values()))))
            print(f"{name:18} rms {rms:.2%}  {values}")
    print(f"exact entropy {entropy:.4f}")


def losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over sizes of the loss over that of real text, by share and tokens."""
    table = runs.assign(
        over_real=over_real(runs, ["width", "n_tokens"]),
        floor=runs[FLOOR].sum(axis=1),
        plateau=(1 - runs["real_share"]) * runs[WRITER].sum(axis=1),
    )
    return table.pivot_table(index=["real_share", "plateau", "floor"], columns=["n_tokens"], values="over_real")


if __name__ == "__main__":
    main(*sys.argv[1:])
