"""What a text read before is worth to a student of speeches: python analysis/transfer.py [RESULTS]

Three tables: losses from each start by volume; effective data transferred with its law D_T = k D_F^alpha N^beta; and
the bits in which the speeches are told from each start, the first kilobyte by a uniform guess. ``over none`` is the
difference to random weights, paired by size and seed, with its standard error over pairs. What was read before is named
with the rate at which the student goes on, where that is not the rate of random weights.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import published_runs

from scaling.fit.measures.code_length import code_lengths
from scaling.fit.measures.transfer import transfer
from scaling.report.measures import show_transfer

COLUMNS = ("source", "start", "start_run", "start_text_id", "start_tokens", "start_flops", "flops", "vocab_size")
FEWEST = 5_000
"""Tokens below which a run is there for the code's first block alone."""


def main(results: str = "results") -> None:
    runs = published_runs("transfer", results, columns=COLUMNS)
    # The base rate is 8e-3 at width 32, and falls as 1/width.
    rate = (runs["lr"] * runs["width"] / (32 * 8e-3)).map(lambda share: "" if share > 0.99 else f", rate × {share:g}")
    runs["start"] = runs["start"].fillna("none") + rate
    runs["start_text_id"] += rate
    print("loss from each start\n" + _losses(runs).to_string())
    print()
    show_transfer(transfer(runs, where=f"n_tokens > {FEWEST}"))
    print("\nbits a byte in which the first D bytes are told\n" + _codes(runs).to_string())


def _losses(runs: pd.DataFrame) -> pd.DataFrame:
    means = runs.groupby(["width", "start", "n_tokens"])["loss"].mean()
    return means.unstack("n_tokens").round(3)


def _codes(runs: pd.DataFrame) -> pd.DataFrame:
    """Bits a byte from each start, and how many fewer than from random weights."""
    last = runs[runs["start"] != "none"]["n_tokens"].max()
    rows = []
    for seed, own in runs[runs["n_tokens"] <= last].groupby("seed"):
        # Each start and size is a learner of its own, with a law of its own.
        found = code_lengths(own, law="power", by=("start",))
        rows += [{"start": arm.text, "n": arm.n, "seed": seed, "bits": arm.bits / arm.d} for arm in found.arms]
    table = pd.DataFrame(rows).set_index(["n", "seed", "start"])["bits"].unstack("start")
    over = table.sub(table["none"], axis=0)
    return pd.DataFrame(
        {
            **{f"N {n:.0f}": part.mean() for n, part in table.groupby("n")},
            "over none": over.mean(),
            "se": over.std() / np.sqrt(len(over)),
        }
    ).round(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
