"""Size × volume × teacher on English books and speeches: python analysis/prose.py [RESULTS]

What each teacher's text costs its students beside real text, by size and volume; what changing the teacher's decoding
does to that; the law of all of them; the same at twice the text, of students whose forecasts were registered; a
teacher that somebody else trained (`prose_pretrained`); and students of up to 9M parameters and 10M tokens, which an
accelerator trained (`prose_accelerator`), beside what the law says of them.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import REFERENCE, over_real, published_runs

import scaling

TRAINED = {
    "fc95e88c41": "trained, width 32, 1M",
    "cffd23a033": "trained, width 64, 2M",
    "be7c427853": "trained, width 128, 3M",
}
"""Teachers that are runs, by their width and what they read."""
BEST = "trained, width 128, 3M"
"""Whose decoding is changed, and which others are held against."""


COLUMNS = ("source", "bits_per_byte", "n_unique_tokens")


def main(results: str = "results") -> None:
    runs = published_runs("prose", results, columns=COLUMNS)
    print(f"{len(runs)} runs of {runs['trunk_id'].nunique()} trunks, {runs['teacher'].nunique()} texts\n")
    real = runs[runs["teacher"] == "real"]
    print("Loss of students of real text, nats/token:")
    print(real.pivot_table(index="width", columns="n_tokens", values="loss").round(3).to_string(), "\n")
    print("What a teacher's text costs beside as much real text, nats/token, by width and tokens:")
    print(costs(runs).round(3).to_string(na_rep=""), "\n")
    print("Above the text of the best trained teacher, mean over volumes, nats/token, by width and seed:")
    print(above_best(runs).round(3).to_string(), "\n")
    print(f"Two seeds of a run differ by {seed_noise(runs)} (standard deviation)\n")
    print(scaling.summary(scaling.fit_law(runs, law="auto", strict=False)), "\n")
    print("At twice the text, one seed, trained after their forecasts were registered:")
    print(costs(of_twice_the_text()).round(3).to_string(na_rep=""), "\n")
    print("The same beside a teacher 300 times larger than any student, which goes on from pieces of prose:")
    print(costs(published_runs("prose_pretrained", results, columns=COLUMNS)).round(3).to_string(na_rep=""), "\n")
    large = published_runs("prose_accelerator", results, columns=(*COLUMNS, "device"))
    print("Larger students and more text, and what the law of `prose`, fitted before, says of them:")
    print(beyond(large.sort_values(["teacher", "width", "n_tokens"])).to_string(index=False, na_rep=""))


def costs(runs: pd.DataFrame) -> pd.DataFrame:
    """Loss above that of the student of real text, one row a text and one column a width and volume."""
    runs = runs.assign(cost=over_real(runs, ["width", "n_tokens", "seed"]))
    runs = runs[runs["teacher"] != "real"].assign(text=runs["teacher"].map(named))
    cost = runs.pivot_table(index="text", columns=["width", "n_tokens"], values="cost")
    cost.columns = [f"{width} × {round(tokens / 1000, -1):,.0f}k" for width, tokens in cost.columns]
    own = runs.groupby("text")["teacher_loss"].first()
    cost.insert(0, "its own loss", own)
    cost.insert(1, "bits/byte", own * (runs["bits_per_byte"] / runs["loss"]).median())
    return cost


def above_best(runs: pd.DataFrame) -> pd.DataFrame:
    """Loss above that of the student of the best trained teacher, one row a text, one column a width and seed."""
    loss = runs.assign(text=runs["teacher"].map(named)).pivot_table("loss", ["width", "seed", "n_tokens"], "text")
    return loss.sub(loss[BEST], axis=0).drop(columns=["real", BEST]).groupby(["width", "seed"]).mean().T


def seed_noise(runs: pd.DataFrame) -> str:
    """Scatter of the loss between the two seeds of a cell, of all runs and by width, per cent."""
    logs = np.log(runs["loss"])
    off = logs - logs.groupby([runs[name] for name in ("teacher", "width", "n_tokens")]).transform("mean")
    # Of two seeds each lies half of their difference from the mean.
    by_width = {width: 100 * np.sqrt(2 * np.mean(part**2)) for width, part in off.groupby(runs["width"])}
    said = ", ".join(f"{scatter:.2f} % at width {width}" for width, scatter in by_width.items())
    return f"{100 * np.sqrt(2 * np.mean(off**2)):.2f} % of its loss: {said}"


def of_twice_the_text() -> pd.DataFrame:
    """Students of sweeps/registered_prose_texts.yaml, with what `prose` knows of their teachers."""
    runs = pd.read_csv(REFERENCE / "registered.csv")
    runs = runs[(runs["source"].str.contains("prose")) & (runs["seed"] == 101)]
    known = pd.read_csv(REFERENCE / "prose.csv").groupby("teacher")["teacher_loss"].first()
    return runs.assign(teacher_loss=runs["teacher"].map(known), bits_per_byte=np.nan)


def beyond(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with their cost above real text, and the forecast of the published fit where it knows their text."""
    fit = scaling.load_fit(REFERENCE / "registered_prose_texts_fit.json")
    rows = runs.assign(text=runs["teacher"].map(named), cost=over_real(runs, ["width", "n_tokens"]))
    known = rows[rows["teacher"].isin(pd.read_csv(REFERENCE / "prose.csv")["teacher"].unique())]
    for i, run in known.iterrows():
        teacher = None if run["teacher"] == "real" else run["teacher"]
        # Far beyond its runs, which is what is asked here.
        said = scaling.forecast(fit, run["n_params"], run["n_tokens"], teacher=teacher, force=True).frame().iloc[0]
        rows.loc[i, ["forecast", "low", "high"]] = said[["loss", "low", "high"]].to_numpy(float)
    rows["off, %"] = 100 * (rows["forecast"] / rows["loss"] - 1)
    inside = rows["loss"].between(rows["low"], rows["high"])
    print(f"{inside.sum()} of {len(known)} inside their intervals, mean error {rows['off, %'].abs().mean():.2f} %")
    return rows[["text", "width", "n_params", "n_tokens", "loss", "cost", "forecast", "low", "high", "off, %"]].round(3)


def named(teacher: str) -> str:
    """A label with the teacher's size in the place of its run."""
    for run_id, told in TRAINED.items():
        teacher = teacher.replace(f"trained {run_id}", told)
    return teacher


if __name__ == "__main__":
    main(*sys.argv[1:])
