"""Recipes against reading alone, at equal data and at equal FLOPs: python analysis/distill.py [RESULTS]

Differences are paired by seed; ± is the standard error over seeds. FLOPs are those of the student and of its teacher:
a pass a token to write the text, and one more where a recipe looks into the teacher. What reading alone reaches with
the FLOPs of a recipe is read off its own losses, linear in the logarithm of FLOPs; beyond them it is marked. Each size
of student is compared with readers of its own size.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import published_runs

READING = "sequence"

COLUMNS = ("recipe", "flops", "teacher_flops")


def main(results: str = "results") -> None:
    runs = published_runs("distill", results, columns=COLUMNS)
    for size, rows in runs[runs["recipe"].notna() & (runs["teacher"] != "real")].groupby("n_params"):
        print(f"students of {size:,} parameters")
        show(rows)


def show(runs: pd.DataFrame) -> None:
    """Losses of each recipe, then its distance from reading alone."""
    runs = runs.assign(flops_all=runs["flops"] + runs["teacher_flops"])
    print(
        runs.groupby(["recipe", "n_tokens"])
        .agg(loss=("loss", "mean"), se=("loss", "sem"), kl=("kl_student", "mean"), flops=("flops_all", "mean"))
        .dropna(axis=1, how="all")
        .round(4)
        .to_string()
    )
    reading = runs[runs["recipe"] == READING]
    for recipe, own in runs[runs["recipe"] != READING].groupby("recipe"):
        for tokens, rows in own.groupby("n_tokens"):
            data = _paired(rows, reading[reading["n_tokens"] == tokens])
            flops, beyond = _at_equal_flops(rows, reading)
            said = " (beyond what was read alone)" if beyond else ""
            print(f"{recipe} at {tokens:,} tokens: {data} at equal data, {flops} at equal FLOPs{said}")


def _paired(rows: pd.DataFrame, others: pd.DataFrame) -> str:
    apart = rows.set_index("seed")["loss"] - others.set_index("seed")["loss"]
    return f"{apart.mean():+.4f} ± {apart.sem():.4f}"


def _at_equal_flops(rows: pd.DataFrame, reading: pd.DataFrame) -> tuple[str, bool]:
    """Loss of a recipe above that of reading alone on as many FLOPs; whether these lie beyond its runs."""
    apart, beyond = [], False
    for _, run in rows.iterrows():
        line = reading[reading["seed"] == run["seed"]].sort_values("flops_all")
        at, known = np.log(run["flops_all"]), np.log(line["flops_all"].to_numpy())
        beyond |= bool(at > known[-1] + 1e-9)
        # The last two runs give the slope by which reading goes on.
        i = int(np.clip(np.searchsorted(known, at), 1, len(known) - 1))
        loss = line["loss"].to_numpy()
        slope = (loss[i] - loss[i - 1]) / (known[i] - known[i - 1])
        apart.append(run["loss"] - (loss[i] + slope * (at - known[i])))
    return f"{np.mean(apart):+.4f} ± {pd.Series(apart).sem():.4f}", beyond


if __name__ == "__main__":
    main(*sys.argv[1:])
