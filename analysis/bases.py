"""Do size and data interact under a teacher's form? python analysis/bases.py

A teacher form stands on Chinchilla's sum of a term of N and one of D, and on Skaling of one exponent,
E + A (N^-alpha + R D^-alpha)^k, which has as many coefficients and lets the two interact; the fitter takes the plain
mean of both, each fitted to all runs and to the better trained half. Each table is fitted as the fitter does it and by
the form on either base alone, and all three forecast students beyond those they were fitted to. Its first part are this
project's tables, on which the mean was chosen; its second, where $SCALING_SHARED (default: ../shared beside the
repository) holds the public tables, are those that it was then asked about, halved and cut at 70 % of the runs by N D.
There a training text is a teacher, the first one "real".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from published import REFERENCE
from registered import FITS

import scaling
from scaling.fit.saved.files import fit_id_of
from scaling.predict.registered import registered_in

PUBLIC = Path(os.environ.get("SCALING_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
DELTAS = ["delta_coverage", "delta_noise"]
SIZES = ["teacher", "n_params", "n_tokens", "loss"]
FITTERS = ("Chinchilla", "Skaling", "mean")
Table = tuple[str, pd.DataFrame, pd.DataFrame]


def main() -> None:
    for tables in (chosen_on(), asked_afterwards()):
        rows = {name: [len(known), len(asked), *_compared(known, asked)] for name, known, asked in tables}
        if not rows:
            continue
        errors, inside = ([f"{what}{base}" for base in FITTERS] for what in ("error %, ", "inside, "))
        table = pd.DataFrame(rows, ["fitted", "forecast", *errors, *inside]).T
        table.loc["mean of tables"] = table[[*errors, *inside]].mean()
        print(table.round(2).to_string(na_rep=""), "\n")


def chosen_on() -> Iterator[Table]:
    """Runs to fit, and others, beyond them, to forecast."""
    prose, larger = _read("prose"), _read("prose_accelerator")
    yield "prose, an accelerator's", prose, larger[larger["teacher"].isin(prose["teacher"])]
    yield "prose, registered", prose, _registered("prose, twice the text")
    study = _read("study")
    study = study[study["real_share"].isin([0, 1]) & ~study["teacher"].str.startswith("net ")]
    small = (study["n_params"] < 2.5e5) & (study["n_tokens"] < 1.5e6)
    yield "study, larger", study[small], study[~small]
    yield "quickstart, registered", _read("quickstart"), _registered("quickstart")
    for name in ("grid", "speeches"):
        yield _cut(name, _read(name), 0.7)


def asked_afterwards() -> Iterator[Table]:
    """Tables that had no say in it."""
    study, kinds = _read("study"), _read("soft_targets")
    net = study[study["teacher"].str.startswith("net ") | (study["teacher"] == "real")][SIZES]
    tables = {"soft_targets": kinds[~kinds["teacher"].str.endswith("exact")], "study, net teachers": net}
    if PUBLIC.is_dir():
        pilot = pd.read_csv(PUBLIC / "w0-pilot" / "runs.csv").rename(columns={"loss_answer": "loss"})
        tables["W0, pilot"] = pilot[pilot["n_tokens"] > 1e5]
        tables["W0, pilot, no divergences"] = tables["W0, pilot"][SIZES]
        gadre = pd.read_csv(PUBLIC / "gadre" / "runs_losses.csv")
        for loss in ("loss_c4_val", "loss_paloma_falcon-refinedweb", "loss_paloma_redpajama"):
            tables[f"Gadre, {loss[5:]}"] = gadre.rename(columns={"N": "n_params", "D": "n_tokens", loss: "loss"})
        marin = pd.read_csv(PUBLIC / "marin" / "isoflops.csv").query("not outlier")
        tables["Marin"] = marin.rename(columns={"params": "n_params", "tokens": "n_tokens"})
        porian = pd.read_csv(PUBLIC / "porian" / "isoflop_points.csv").query("hparams == 'tuned' and val == 'val'")
        porian = porian[porian["param_count"] == porian["param_count"].mode()[0]]
        porian = porian[(porian["D"] / porian["N"]).between(2, 200)].rename(columns={"N": "n_params", "D": "n_tokens"})
        tables["Porian, tuned"] = porian.drop_duplicates(["dataset", "n_params", "n_tokens"])
    for name, runs in tables.items():
        for share in (0.5, 0.7):
            yield _cut(name, _labelled(runs), share)


def _read(sweep: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / f"{sweep}.csv").query("status == 'done'")


def _labelled(runs: pd.DataFrame) -> pd.DataFrame:
    """With the training text as the teacher."""
    runs = runs.assign(teacher=runs["dataset"]) if "dataset" in runs else runs
    real = "real" if "real" in set(runs["teacher"]) else runs["teacher"].iloc[0]
    known = [name for name in DELTAS if name in runs]
    return runs.assign(teacher=runs["teacher"].replace(real, "real"))[[*SIZES, *known]].dropna()


def _cut(name: str, runs: pd.DataFrame, share: float) -> Table:
    """The smaller runs by N D, and the larger ones of the same texts."""
    cost = runs["n_params"] * runs["n_tokens"]
    small = runs[cost <= cost.quantile(share)]
    large = runs[(cost > cost.quantile(share)) & runs["teacher"].isin(small["teacher"])]
    return f"{name}, largest {1 - share:.0%}", small, large


def _registered(fit: str) -> pd.DataFrame:
    """Students that were forecast by one of the registered fits, once they are measured."""
    fit_id, runs = fit_id_of((REFERENCE / FITS[fit]).read_text("utf-8")), _read("registered")
    asked = [one.run_id for one in registered_in(REFERENCE / "forecasts") if one.fit_id == fit_id]
    return runs[runs["run_id"].isin(asked)]


def _compared(known: pd.DataFrame, asked: pd.DataFrame) -> list[float]:
    """Mean error of each fitter in per cent, and share of the losses inside their 90 % intervals."""
    mean = scaling.fit_law(known, strict=False, bootstrap=0)
    forms = [mean.law.unfitted(base=base) for base in ("chinchilla", "tied-skaling")]
    fits = [*(scaling.fit_law(known, law=form, strict=False, bootstrap=0) for form in forms), mean]
    said = [pd.concat([_forecast(fit, known, run) for run in asked.itertuples()]) for fit in fits]
    loss = asked["loss"].to_numpy()
    errors = [100 * np.abs(one["loss"].to_numpy() / loss - 1).mean() for one in said]
    return errors + [((one["low"].to_numpy() <= loss) & (loss <= one["high"].to_numpy())).mean() for one in said]


def _forecast(fit: scaling.Fit, known: pd.DataFrame, run: Any) -> pd.DataFrame:
    """One of the runs that are asked about, its text known by its label or by its two divergences."""
    sizes = {"n": run.n_params, "d": run.n_tokens, "force": True}
    if "teacher" in fit.law.columns or not set(DELTAS) <= set(known):
        asked = {"teacher": None if run.teacher == "real" else run.teacher}
    else:
        asked = {"columns": known[known["teacher"] == run.teacher].iloc[0][DELTAS].to_dict()}
    return scaling.forecast(fit, **sizes, **asked).frame()


if __name__ == "__main__":
    main()
