"""What a cooldown that is trained for 4 bits brings back: python analysis/qat.py [RESULTS]

Pairs the runs of `sweeps/qat.yaml` with those of `sweeps/grid.yaml` of the same width and text, and their damage.
"""

from __future__ import annotations

import sys

import pandas as pd
from published import REFERENCE, published_runs


def main(results: str = "results") -> None:
    keys = ["width", "n_tokens"]
    trained = published_runs("qat", results).set_index(keys)["loss"]
    damage = pd.read_csv(REFERENCE / "damage.csv")
    rounded = damage[(damage["teacher"] == "real") & (damage["bits"] == 4)].set_index(keys)
    print("width  tokens     float    Q4_0 afterwards  Q4_0 in the cooldown  brought back")
    shares = []
    for key, loss in trained.items():
        before, cost = rounded.loc[key, ["loss", "damage"]]
        shares.append((before + cost - loss) / cost)
        found = f"{before:.4f}   {before + cost:.4f}           {loss:.4f}              {shares[-1]:.0%}"
        print(f"{key[0]:5d}  {key[1]:9,d}  {found}")
    print(f"mean: {pd.Series(shares).mean():.0%} of the damage")


if __name__ == "__main__":
    main(*sys.argv[1:])
