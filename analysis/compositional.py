"""What students make of commands of a kind they never saw: python analysis/compositional.py [RESULTS]

Shares of questions answered without an error, of the kind that was taught and of the kind that was kept from training,
each with its standard error. Chance is one in the number of action sequences there are: zero to the digits shown.
"""

from __future__ import annotations

import sys

from published import published_runs

COLUMNS = (
    "source",
    "exact_match",
    "exact_match_se",
    "ood_loss",
    "ood_loss_se",
    "ood_exact_match",
    "ood_exact_match_se",
)


def main(results: str = "results") -> None:
    runs = published_runs("compositional", results, columns=COLUMNS)
    runs["split"] = runs["source"].str.removeprefix("scan ")
    cells = runs.set_index(["split", "width", "n_tokens"]).sort_index()
    columns = ["loss", "exact_match", "exact_match_se", "ood_loss", "ood_exact_match", "ood_exact_match_se"]
    print(cells[columns].round(4).to_string())
    most = runs[runs["n_tokens"] == runs["n_tokens"].max()]
    # Of students alike on what they were taught, what they make of the rest is a matter of the split.
    for split, rows in most.groupby("split"):
        like, other = rows["exact_match"].mean(), rows["ood_exact_match"].mean()
        print(f"{split}: taught kind {like:.3f}, kind kept from training {other:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
