"""Students told whole distributions beside students that read sampled tokens: python analysis/soft_targets.py [RESULTS]

A law of each kind alone says whether the floor is one; the laws `qt` and `qtk` (size and data coupled) give B and beta
of each kind on one floor and one size term; from `qt`, how many tokens of each kind teach as much. Then Busbridge's law
for distillation on the part of the table that it speaks of (real text, and distributions), by AICc and by the error on
the left-out corner of the largest students on the most tokens. Intervals are of 90 %, by bootstrap over trunks.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from published import published_runs

import scaling
from scaling.fit.result import Fit
from scaling.fit.select import compare
from scaling.laws.named import named_law
from scaling.tables.observe import observe

TOKENS, SOFT = "tokens", "distribution"
LABELLED = ("delta_coverage", "delta_noise")


def main(results: str = "results") -> None:
    runs = published_runs("soft_targets", results, columns=LABELLED)
    is_soft = runs["teacher"].str.endswith(", exact")
    # What is compared are kinds of targets: a table without text_id is grouped by its labels.
    runs = runs.drop(columns="text_id").assign(kind=np.where(is_soft, SOFT, TOKENS))
    entropy = float(runs["entropy"].iloc[0])
    for kind, own in runs.groupby("kind"):
        show(f"{kind} alone", scaling.fit_law(own.assign(teacher=kind), law="q1", n="n_params", strict=False))
    both = runs.assign(teacher=runs["kind"])
    show("qt", scaling.fit_law(both, law="qt", n="n_params", strict=False))
    for law in ("qtk", "qt"):
        known = scaling.fit_law(both, law=law, n="n_params", held={"E": entropy}, strict=False)
        show(f"{law} at the exact entropy {entropy:.4f}", known)
    for d in sorted(runs["n_tokens"].unique()):
        print(f"{d:,.0f} tokens teach what {_as_many(known, d)} distributions do")
    print("real text and distributions alone:")
    for one in candidates(runs[is_soft | (runs["teacher"] == "real")]):
        said = f"{one.law.heading:52} k {one.k:2}  AICc {one.aicc:7.1f}  rms {one.rms:.2%}"
        print(f"{said}  left-out corner {one.corner:.2%}  at bound: {', '.join(one.optimum.at_bound) or 'none'}")


def show(what: str, fit: Fit) -> None:
    """Coefficients with their intervals."""
    intervals = fit.interval()
    rms = np.sqrt(np.mean(np.square(list(fit.residuals.values()))))
    print(f"{what}: {fit.n_runs} runs, rms {rms:.2%}")
    for name, value in fit.params.items():
        low, high = intervals[name]
        print(f"  {name:20} {value:10.4g}  [{low:.4g}, {high:.4g}]")


def candidates(runs: pd.DataFrame) -> list:
    """Laws of real text and of students that are told distributions, best first."""
    table = runs.assign(teacher=np.where(runs["kind"] == SOFT, SOFT, "real"))
    data = observe(table, columns={"n": "n_params", "d": "n_tokens"})
    own = [named_law(name, teachers=data.teachers) for name in ("qt", "qtk")]
    forms = [named_law("q1"), *own, named_law("qb")]
    return compare(data, forms)


def _as_many(fit: Fit, d: float) -> str:
    """Tokens of the one kind that bring the data term to where `d` of the other do."""
    drawn = dict(zip(fit.law.names, fit.leading.samples.T, strict=True))
    value, many = (
        (p[f"B[{SOFT}]"] / p[f"B[{TOKENS}]"] * d ** p[f"beta[{TOKENS}]"]) ** (1 / p[f"beta[{SOFT}]"])
        for p in (fit.params, drawn)
    )
    low, high = np.quantile(many, [0.05, 0.95])
    return f"{value:,.0f} [{low:,.0f}, {high:,.0f}]"


if __name__ == "__main__":
    main(*sys.argv[1:])
