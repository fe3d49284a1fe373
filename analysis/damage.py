"""What rounding the weights costs, by bits, size and tokens: python analysis/damage.py [RESULTS]

Takes the table that `scaling damage sweeps/grid.yaml` wrote under RESULTS, publishes it, prints it, compares the
laws of it, and draws damage.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.fit.measures.damage import fit_damage

HERE = Path(__file__).parent
TABLE = HERE.parent / "results/reference/damage.csv"
FIGURE = HERE / "damage.png"
MEASURED = ("loss", "damage", "damage_se", "damage_low", "damage_high")


def main(results: str = "results") -> None:
    written = Path(results) / "grid/damage.csv"
    if written.exists():
        table = pd.read_csv(written)
        table[list(MEASURED)] = table[list(MEASURED)].round(7)
        table.to_csv(TABLE, index=False)
    table = pd.read_csv(TABLE)
    real = table[table["teacher"] == "real"]
    print("loss added by rounding, nats/token: mean over D (largest standard error of one run)")
    for (teacher, n), rows in table.groupby(["teacher", "n_params"]):
        cells = [
            f"{p} bits {own['damage'].mean():+.5f} ({own['damage_se'].max():.5f})" for p, own in rows.groupby("bits")
        ]
        print(f"{teacher:9} N {n:7,d}  {'  '.join(cells)}")
    fits = {}
    for name, rows in {"real text": real, "all texts": table}.items():
        for one in fit_damage(rows):
            fits[name, one.law] = one
            print(f"{name}, {one.n_rows} rows: {one.fit.law!r}")
            print(f"  off by e^±{one.error:.2f}; at the largest size, from the smaller ones, by e^±{one.ahead:.2f}")
    _draw(real, fits["real text", "damage-noise"].fit.law)
    print(f"figure: {FIGURE.name}")


def _draw(real: pd.DataFrame, law) -> None:
    """Left: damage against bits with the law. Right: 4 bits against tokens per parameter."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (by_bits, by_ratio) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    bits = np.linspace(2, 8, 61)
    for (n, rows), colour in zip(real.groupby("n_params"), ("#1b9e77", "#d95f02", "#7570b3"), strict=True):
        error = [
            (rows["damage"] - rows["damage_low"]).clip(lower=0),
            (rows["damage_high"] - rows["damage"]).clip(lower=0),
        ]
        shift = 0.04 * (np.log(rows["n_tokens"]) - np.log(rows["n_tokens"]).mean())
        by_bits.errorbar(rows["bits"] + shift, rows["damage"], error, fmt="o", ms=3, color=colour, label=f"N = {n:,}")
        by_bits.plot(bits, law.loss(n=n, d=5e5, bits=bits), color=colour, lw=1)
        four = rows[rows["bits"] == 4]
        own = four.index
        ends = [error[0][own], error[1][own]]
        by_ratio.errorbar(
            four["n_tokens"] / n, four["damage"], ends, fmt="o-", ms=4, lw=1, color=colour, label=f"N = {n:,}"
        )
    by_bits.set(yscale="log", ylim=(1e-5, 2), xlabel="bits of a weight", ylabel="loss added, nats/token")
    by_bits.set_title("damage falls as (2^P − 1)^−2, and cannot be told from zero at 8 bits", fontsize=10)
    by_ratio.set(
        xscale="log", xlabel="tokens per parameter, D/N", ylabel="loss added at 4 bits, nats/token", ylim=(0, None)
    )
    by_ratio.set_title("more tokens do not make 4 bits cost more", fontsize=10)
    by_bits.legend(frameon=False)
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
