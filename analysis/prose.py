"""Size × volume × teacher on English books and speeches: python analysis/prose.py [RESULTS]

What each teacher's text costs its students beside real text, by size and volume; the law of all of them; and how well
the smaller half of the runs forecasts the larger.
"""

from __future__ import annotations

import sys

import pandas as pd
from published import over_real, published_runs

import scaling

FORMS = ("q1", "q2", "q1q2", "q5")
"""The teacher's error as a floor; fewer effective data; both; a bottleneck: of one unknown error for each text."""


def main(results: str = "results") -> None:
    runs = published_runs("prose", results, columns=("source", "bits_per_byte", "n_unique_tokens"))
    print(f"{len(runs)} runs of {runs['trunk_id'].nunique()} trunks\n")
    print("Loss above that of the same student of as much real text, nats/token:")
    cost = runs.assign(cost=over_real(runs, ["width", "n_tokens", "seed"]))
    cost = cost[cost["teacher"] != "real"].groupby(["teacher", "width", "n_tokens"])["cost"].mean()
    print(cost.unstack().round(3).to_string(), "\n")
    print(scaling.summary(scaling.fit_law(runs, law="auto", strict=False)), "\n")
    print("The larger half by N D, forecast from the smaller:")
    print(pd.DataFrame({law: held_out(runs, law) for law in FORMS}).T.to_string())


def held_out(runs: pd.DataFrame, law: str) -> dict[str, str]:
    """Mean error of the larger half, and the share inside its intervals."""
    found = scaling.backtest(runs, law=law, test="n_params * n_tokens >= 6e10")
    return {"mean error": f"{found.mare:.2%}", "inside 90 %": f"{found.coverage:.0%} of {found.n_test}"}


if __name__ == "__main__":
    main(*sys.argv[1:])
