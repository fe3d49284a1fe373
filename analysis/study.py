"""Size × volume × teacher in W0, where everything is known: python analysis/study.py [RESULTS]

Which form of law forecasts students of a teacher that it never saw, and students larger than those it saw; whether its
coefficients are the exact ones; whether it holds for teachers that are students themselves, whose errors nobody
designed; and whether a teacher's kind of error can be told from its students alone.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import published_runs
from scipy.optimize import least_squares

import scaling
from scaling.errors import FitError
from scaling.tables.units import size_column

DELTAS = ["delta_coverage", "delta_noise"]
FORMS = ("q1", "q2", "q1q2", "q5", "q7")
"""The teacher's error as a floor; fewer effective data; both; a bottleneck; coverage a bottleneck, and noise both."""


def main(results: str = "results") -> None:
    runs = published_runs("study", results, columns=("real_share", *DELTAS))
    # Of a mixture the student judges from each document who wrote it, which has a law of its own (analysis/mixture.py).
    whole = runs[runs["real_share"].isin([0, 1])]
    of_students = whole["teacher"].str.startswith("net ")
    designed, grown = whole[~of_students], whole[of_students]
    print(f"{len(designed)} runs of {designed['teacher'].nunique()} designed texts, exact entropy {_entropy(runs):.4f}")
    print(forms(designed).to_string(), "\n")
    for held in ({}, {"E": _entropy(runs)}):
        print(scaling.summary(scaling.fit_law(designed, held=held, strict=False)), "\n")
    print("Students of each text, forecast without any of them, and of the two that are students themselves:")
    print(unseen(designed, pd.concat([designed[designed["teacher"] != "real"], grown])).to_string(), "\n")
    print("Divergences told from the losses of students, nats/token:")
    print(inferred(whole).to_string())


def forms(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean error of each form, per cent: of texts left out one by one, and of the largest quarter by N D."""
    texts = [text for text in runs["teacher"].unique() if text != "real"]
    rows = {}
    for law in FORMS:
        left_out = pd.Series({text: _error(runs, law, test=f"teacher == '{text}'") for text in texts})
        fit = scaling.fit_law(runs, law=law, bootstrap=0, strict=False)
        rows[law] = {
            "E": round(fit.params["E"], 4),
            "rms": _percent(np.sqrt(np.mean(np.square(list(fit.residuals.values()))))),
            "texts": _percent(left_out.mean()),
            "worst": left_out.idxmax(),
            "its error": _percent(left_out.max()),
            "largest": _percent(_error(runs, law)),
        }
    return pd.DataFrame(rows).T


def unseen(known: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Students of texts that no fit has seen, forecast from their exact divergences."""
    rows = {}
    for text, students in asked.groupby("teacher"):
        every = pd.concat([known[known["teacher"] != text], students])
        found = scaling.backtest(every, test=f"teacher == '{text}'", bootstrap=0)
        rows[text] = {
            **{name: round(students[name].iloc[0], 4) for name in ("teacher_loss", *DELTAS)},
            "mean error": _percent(found.mare),
            "inside 90 %": f"{found.coverage:.0%} of {found.n_test}",
        }
    return pd.DataFrame(rows).T


def inferred(runs: pd.DataFrame) -> pd.DataFrame:
    """The two divergences of each text that explain its students best under the law of all other texts."""
    rows = {}
    for text, students in runs[runs["teacher"] != "real"].groupby("teacher", sort=False):
        law = scaling.fit_law(runs[runs["teacher"] != text], law="q7", bootstrap=0, strict=False).law
        sizes = {"n": students[size_column(runs.columns)].to_numpy(float), "d": students["n_tokens"].to_numpy(float)}

        def misses(delta: np.ndarray, law=law, sizes=sizes, students=students) -> np.ndarray:
            said = law.loss(**sizes, delta_coverage=delta[0], delta_noise=delta[1])
            return np.log(said / students["loss"].to_numpy())

        found = least_squares(misses, [0.1, 0.1], bounds=(0, 3))
        exact = students[DELTAS].iloc[0]
        told = {name: f"{value:.3f} ({exact[name]:.3f})" for name, value in zip(DELTAS, found.x, strict=True)}
        rows[text] = told | {"sum": f"{found.x.sum():.3f} ({exact.sum():.3f})"}
    return pd.DataFrame(rows).T


def _error(runs: pd.DataFrame, law: str, **split: str) -> float:
    """Mean error of the runs held out; NaN where the others do not show the law."""
    try:
        return scaling.backtest(runs, law=law, bootstrap=0, **split).mare
    except FitError:
        return float("nan")


def _entropy(runs: pd.DataFrame) -> float:
    return float(runs["entropy"].iloc[0])


def _percent(share: float) -> str:
    return f"{share:.2%}"


if __name__ == "__main__":
    main(*sys.argv[1:])
