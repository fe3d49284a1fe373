"""Do size and data interact under a teacher's form? python analysis/bases.py

Forms of teachers stand on Chinchilla's sum of a term of N and one of D. Each table is fitted as the fitter does it, and
again by the form that it chose on Skaling of one exponent, E + A (N^-alpha + R D^-alpha)^k, which has as many
coefficients and lets the two interact. Both, and their plain mean, forecast students beyond those they were fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from published import REFERENCE
from registered import FITS

import scaling
from scaling.fit.saved import fit_id_of
from scaling.laws.named import named_law
from scaling.predict.registered import registered_in

DELTAS = ["delta_noise", "delta_coverage"]
ASKED = ["teacher", "n_params", "n_tokens", "loss"]


def main() -> None:
    rows = {}
    for name, known, asked in tables():
        plain = scaling.fit_law(known, strict=False, bootstrap=0)
        twin = named_law(plain.law.name, **(plain.law.structure() | {"base": "tied-skaling"}))
        coupled = scaling.fit_law(known, law=twin, strict=False, bootstrap=0)
        said = [np.array([_forecast(fit, known, run) for run in asked.itertuples()]) for fit in (plain, coupled)]
        said.append(np.exp(np.mean(np.log(said), axis=0)))
        errors = [100 * np.abs(one / asked["loss"].to_numpy() - 1).mean() for one in said]
        rows[name] = [len(known), len(asked), *errors, coupled.params["k"]]
    columns = ["fitted", "forecast", "as it is", "Skaling alone", "their mean", "k"]
    table = pd.DataFrame(rows, columns).T
    table.loc["mean of tables"] = table[columns[2:5]].mean()
    print(table.round(2).to_string(na_rep=""))


def tables() -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Runs to fit, and others, beyond them, to forecast."""
    prose, larger = _read("prose"), _read("prose_accelerator")
    yield "prose, an accelerator's", prose, larger[larger["teacher"].isin(prose["teacher"])][ASKED]
    yield "prose, registered", prose, _registered("prose, twice the text")
    study = _read("study")
    study = study[study["real_share"].isin([0, 1]) & ~study["teacher"].str.startswith("net ")]
    small = (study["n_params"] < 2.5e5) & (study["n_tokens"] < 1.5e6)
    yield "study, larger", study[small], study[~small][ASKED]
    yield "quickstart, registered", _read("quickstart"), _registered("quickstart")
    for name in ("grid", "speeches"):
        runs = _read(name)
        large = runs["n_params"] * runs["n_tokens"] > (runs["n_params"] * runs["n_tokens"]).quantile(0.7)
        asked = runs[large & runs["teacher"].isin(runs[~large]["teacher"])]
        yield f"{name}, largest 30 %", runs[~large], asked[ASKED]


def _read(sweep: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / f"{sweep}.csv").query("status == 'done'")


def _registered(fit: str) -> pd.DataFrame:
    """Students that were forecast by one of the registered fits, once they are measured."""
    fit_id, runs = fit_id_of((REFERENCE / FITS[fit]).read_text("utf-8")), _read("registered")
    asked = [one.run_id for one in registered_in(REFERENCE / "forecasts") if one.fit_id == fit_id]
    return runs[runs["run_id"].isin(asked)]


def _forecast(fit: scaling.Fit, known: pd.DataFrame, run: Any) -> float:
    """One of the runs that are asked about, its text known by its label or by its two divergences."""
    sizes = {"n": run.n_params, "d": run.n_tokens, "force": True}
    if "teacher" in fit.law.columns:
        asked = {"teacher": None if run.teacher == "real" else run.teacher}
    else:
        asked = {"columns": known[known["teacher"] == run.teacher].iloc[0][DELTAS].to_dict()}
    return float(scaling.forecast(fit, **sizes, **asked).frame()["loss"].iloc[0])


if __name__ == "__main__":
    main()
