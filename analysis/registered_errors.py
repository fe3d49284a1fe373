"""What the errors of registered forecasts are made of: python analysis/registered_errors.py

By fit, world and reach: the mean error, how much of it every forecast of one text shares (its bias), how far the
others scatter about that, and what a forecast without any error would still miss by, as a student trained again with
another seed differs. Then the study's forecasts again, by the form and the rows that they were registered with, from
the table as it is today: no forecast, as the students are known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from published import REFERENCE
from registered import FITS, WRITTEN

import scaling
from scaling.fit.saved.files import fit_id_of
from scaling.predict.registered import registered_in, score

OF_NORMAL = np.sqrt(2 / np.pi)
"""Mean size of a normal error, of its standard deviation."""


def main() -> None:
    errors = errors_of_forecasts()
    noise = seed_noise()
    floor, widest = OF_NORMAL * noise["all"], OF_NORMAL * noise[128]
    print(f"A student of another seed differs by {noise['all']:.2f} % (standard deviation) in W0: a perfect law would")
    print(f"miss it by {floor:.2f} % on average, at width 128 by {widest:.2f} %\n")
    errors["reach"] = pd.cut(errors["reach"], [0, 1.5, 2.5, 4.5], labels=["to 1.5×", "about 2×", "about 4×"])
    for columns in (["fit"], ["fit", "kind"], ["reach"]):
        print(errors.groupby(columns, observed=True).apply(parts, include_groups=False).round(2).to_string(), "\n")
    print(parts(errors).round(2).to_frame("all").T.to_string(), "\n")
    print("The study's again, from today's table:")
    print(again(errors[errors["fit"] == "study"]).round(2).to_string())


def errors_of_forecasts() -> pd.DataFrame:
    """One row a measured forecast: fit, text, reach, and how far the measured loss lies from it, per cent."""
    fits = {fit_id_of((REFERENCE / file).read_text("utf-8")): name for name, file in FITS.items()}
    rows = score(registered_in(REFERENCE / "forecasts"), pd.read_csv(WRITTEN)).rows
    return pd.DataFrame(
        {
            "run_id": row.forecast.run_id,
            "fit": fits[row.forecast.fit_id],
            "text": row.forecast.text,
            "kind": row.forecast.text.split()[0],
            "reach": row.forecast.reach,
            "error": 100 * row.error,
        }
        for row in rows
        if row.error is not None
    )


def parts(errors: pd.DataFrame) -> pd.Series:
    """Mean error, bias, mean error once each text's own bias is taken away, and the same of the group's."""
    own = errors["error"] - errors.groupby("text")["error"].transform("mean")
    return pd.Series(
        {
            "n": len(errors),
            "mean error": errors["error"].abs().mean(),
            "bias": errors["error"].mean(),
            "without the bias": (errors["error"] - errors["error"].mean()).abs().mean(),
            "without that of each text": own.abs().mean(),
        }
    )


def seed_noise() -> dict[int | str, float]:
    """Standard deviation over seeds, per cent of the loss, by width and of all cells (`analysis/seeds.py`)."""
    runs = pd.read_csv(REFERENCE / "seeds.csv")
    runs = runs.assign(share=runs["loss"] / runs.groupby(["width", "n_tokens"])["loss"].transform("mean"))
    cells = runs.groupby(["width", "n_tokens"])["share"].var().reset_index()
    return {"all": 100 * cells["share"].mean() ** 0.5, **(100 * cells.groupby("width")["share"].mean() ** 0.5)}


def again(registered: pd.DataFrame) -> pd.DataFrame:
    """Errors by text of q7 with the exact entropy, fitted to designed texts, widths 32 and 64, 500k tokens and more."""
    runs = pd.read_csv(REFERENCE / "study.csv").query("status == 'done' and seed == 0")
    designed = runs[runs["real_share"].isin([0, 1]) & ~runs["teacher"].str.startswith("net ")]
    known = designed[(designed["width"] <= 64) & (designed["n_tokens"] >= 499_000)]
    law = scaling.fit_law(known, law="q7", held={"E": runs["entropy"].iloc[0]}, bootstrap=0, strict=False).law
    asked = runs.set_index("run_id").loc[registered["run_id"]]
    inputs = {"n": "n_params", "d": "n_tokens", "delta_coverage": "delta_coverage", "delta_noise": "delta_noise"}
    said = law.loss(**{name: asked[column].to_numpy(float) for name, column in inputs.items()})
    found = registered.assign(error=100 * (asked["loss"].to_numpy() / said - 1))
    rows = {kind: parts(group) for kind, group in found.groupby("kind")}
    return pd.DataFrame(rows | {"all": parts(found)}).T


if __name__ == "__main__":
    main()
