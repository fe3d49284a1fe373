"""Size × volume × teacher on English books and speeches: python analysis/prose.py [RESULTS]

What each teacher's text costs its students beside real text, by size and volume; and the law of all of them.
"""

from __future__ import annotations

import sys

from published import over_real, published_runs

import scaling


def main(results: str = "results") -> None:
    runs = published_runs("prose", results, columns=("source", "bits_per_byte", "n_unique_tokens"))
    print(f"{len(runs)} runs of {runs['trunk_id'].nunique()} trunks\n")
    print("Loss above that of the same student of as much real text, nats/token:")
    cost = runs.assign(cost=over_real(runs, ["width", "n_tokens", "seed"]))
    cost = cost[cost["teacher"] != "real"].groupby(["teacher", "width", "n_tokens"])["cost"].mean()
    print(cost.unstack().round(3).to_string(), "\n")
    print(scaling.summary(scaling.fit_law(runs, law="auto", strict=False)))


if __name__ == "__main__":
    main(*sys.argv[1:])
