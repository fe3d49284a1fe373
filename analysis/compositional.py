"""What students make of questions of a kind they never saw: python analysis/compositional.py [RESULTS]

SCAN and PCFG SET: shares of questions answered without an error, of the kind that was taught and of the kind that was
kept from training, each with its standard error, and by what power of size and data their odds grow. Chance is one in
the number of answers there are: zero to the digits shown.
"""

from __future__ import annotations

import sys

import pandas as pd
from published import published_runs

from scaling.data.eval_sets import standard_error
from scaling.errors import RecordError
from scaling.fit.measures.odds import fit_odds, most_share

SHARES = ("exact_match", "ood_exact_match", "consistency", "memorised")
COLUMNS = ("source", "ood_loss", "ood_loss_se", *(column for name in SHARES for column in (name, f"{name}_se")))


def main(results: str = "results") -> None:
    scan = published_runs("compositional", results, columns=COLUMNS)
    show("SCAN", scan)
    most = scan[scan["n_tokens"] == scan["n_tokens"].max()]
    # Of students alike on what they were taught, what they make of the rest is a matter of the split.
    for split, rows in most.groupby("split"):
        like, other = rows["exact_match"].mean(), rows["ood_exact_match"].mean()
        print(f"{split}: taught kind {like:.3f}, kind kept from training {other:.3f}")
    pcfg = published_runs("pcfg", results, columns=COLUMNS)
    show("PCFG SET", pcfg)
    # The splits are at different volumes where the longest trainings are not all done.
    most = pcfg.loc[pcfg.groupby("split", sort=False)["n_tokens"].idxmax()]
    for row in most[most["consistency"].notna()].itertuples():
        print(f"{row.split}: answered alike {row.consistency:.3f}, rightly {row.ood_exact_match:.3f}")
    # Published as the peak over training: how far the rule was followed before the exceptions were learned by heart.
    course = pcfg[pcfg["split"] == "overgeneralisation"].set_index("n_tokens").sort_index()
    peak = course["ood_exact_match"].idxmax()
    rule, heart = course.loc[peak, ["ood_exact_match", "memorised"]]
    print(
        f"overgeneralisation peaks at {peak:,} tokens: {rule:.3f} of the exceptions by the rule, {heart:.3f} by heart"
    )


def show(name: str, runs: pd.DataFrame) -> None:
    """A table of shares, and under it how their odds grow, by split."""
    runs["split"] = runs["source"].str.split().str[1]
    shares = [one for one in SHARES if one in runs and runs[one].notna().any()]
    cells = runs.set_index(["split", "width", "n_tokens"]).sort_index()
    print(f"\n{name}: shares ± standard error, {questions_of(runs, 'exact_match')} questions of the taught kind")
    for one in shares:
        cells[one] = [
            f"{a:.3f} ± {b:.3f}" if a == a else "" for a, b in zip(cells[one], cells[f"{one}_se"], strict=True)
        ]
    print(cells[["loss", "ood_loss", *shares]].round(4).to_string())
    print(f"\n{name}: the odds of a right answer grow as these powers, 90 % intervals")
    for split, rows in runs.groupby("split", sort=False):
        for one in (one for one in shares if rows[one].notna().all()):
            print(f"{split:26s} {one:16s} {growth(rows, one)}")


def questions_of(runs: pd.DataFrame, metric: str) -> int:
    """How many questions a share is of: as many as its standard error says."""
    share, error = runs[[metric, f"{metric}_se"]].iloc[0]
    return min(range(1, 5000), key=lambda n: abs(standard_error(share, n) - error))


def growth(runs: pd.DataFrame, metric: str) -> str:
    """By what power of each varied column the odds grow, or how rare a right answer is."""
    questions = questions_of(runs, metric)
    right, asked = round(questions * runs[metric].sum()), questions * len(runs)
    over = [one for one in ("n_params", "n_tokens") if runs[one].nunique() > 1]
    try:
        found = fit_odds(runs, metric, trials=questions, over=over)
    except RecordError:
        rare = f": a share below {most_share(asked):.1g}" if right == 0 else ""
        return f"no slope, {right} of {asked:,} right{rare}"
    powers = (f"{name}^{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for name, one in found.exponents.items())
    return "  ".join(powers) + f"  ({len(runs)} cells, scatter {found.dispersion**0.5:.1f} × that of the questions)"


if __name__ == "__main__":
    main(*sys.argv[1:])
