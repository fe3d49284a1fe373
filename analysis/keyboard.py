"""What students save on a keyboard, forecast and measured, beside n-grams of their bytes: analysis/keyboard.py

    scaling sweep sweeps/speeches_small.yaml
    scaling keyboard sweeps/speeches_small.yaml --ngram
    python analysis/keyboard.py [RESULTS]

Takes the table that the second wrote under RESULTS, publishes it, and prints it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from published import REFERENCE

from scaling.chain.keyboard import KEYBOARD
from scaling.chain.keystrokes import Keystrokes
from scaling.fit.fitter import fit
from scaling.fit.measures.savings import fit_savings
from scaling.records import load_runs

TABLE = REFERENCE / "keyboard.csv"
SWEEP = "speeches_small"
OF_RUN = ["run_id", "status", "text_id", "teacher_loss"]
LAW = "q2"


def main(results: str = "results") -> None:
    written = Path(results) / SWEEP / KEYBOARD
    if written.exists():
        runs = load_runs(written.parent)[OF_RUN]
        pd.read_csv(written).merge(runs, on="run_id").to_csv(TABLE, index=False, float_format="%.7g")
    table = pd.read_csv(TABLE)
    students, ngrams = (table[table["model"] == name].reset_index(drop=True) for name in ("student", "ngram"))
    line = fit_savings(students)
    words, ceiling = int(students["n_words"][0]), students["ceiling"][0]
    print(f"{words} words, at most {ceiling:.1%} of their keys can be saved; {len(students)} students as int8")
    print(f"{line!r}, scatter {line.scatter:.3f}; on other words ±{line.words_se:.1%}\n")
    beside(students, ngrams)
    by_trunk(students)
    from_a_law(students)


def beside(students: pd.DataFrame, ngrams: pd.DataFrame) -> None:
    """Each width at the most tokens, and the n-gram of its bytes and text."""
    longest = students["n_tokens"] == students["n_tokens"].max()
    rows = pd.concat([students[longest], ngrams[longest]]).sort_values(["teacher", "width", "model"])
    shares = {
        name: [f"{v:.1%} ±{se:.1%}" for v, se in zip(rows[name], rows[f"{name}_se"], strict=True)]
        for name in ("top1", "top3", "savings")
    }
    print(rows[["teacher", "width", "model", "weights_bytes", "bits_per_byte"]].assign(**shares).to_string(index=False))
    for name in ("top1", "top3", "savings"):
        more = (ngrams[name] - students[name]) * 100
        print(f"n-gram above student, {name}: {more.mean():+.1f} points, {more.min():+.1f} to {more.max():+.1f}")
    print()


def by_trunk(students: pd.DataFrame) -> None:
    """Savings of each trunk's students from their own loss, by the line through the others."""
    errors, inside = [], []
    for trunk, left_out in students.groupby("trunk_id"):
        line = fit_savings(students[students["trunk_id"] != trunk])
        for _, one in left_out.iterrows():
            told = line.predict(one["bits_per_byte"])
            errors.append(100 * (told.value - one["savings"]))
            inside.append(told.low <= one["savings"] <= told.high)
    off = pd.Series(errors)
    print(
        f"from the measured loss, a trunk left out: off by {off.abs().mean():.2f} points in the mean, "
        f"{off.abs().max():.2f} at most; {sum(inside)} of {len(inside)} inside the 90 % interval"
    )


def from_a_law(students: pd.DataFrame) -> None:
    """Both steps of the chain, of the widest trunk of each text left out: loss from size and tokens, savings from that
    loss."""
    errors = []
    for text, widest in students[students["width"] == students["width"].max()].groupby("teacher"):
        known = students[~students["run_id"].isin(widest["run_id"])]
        law, line = fit(known, law=LAW, bootstrap=0, strict=False), fit_savings(known)
        print(f"\n{text}, loss by {law.law!r} of the {len(known)} others")
        for _, one in widest.iterrows():
            loss = law.predict(one["n_params"], one["n_tokens"], teacher=text)
            told = Keystrokes(fit=line, per_bit=one["loss"] / one["bits_per_byte"]).of_loss(loss)
            errors.append(100 * (told.value - one["savings"]))
            print(
                f"  width {one['width']}, {one['n_tokens']:,} tokens: loss {loss.value:.3f}, was {one['loss']:.3f}",
                f"savings {told.value:.1%} [{told.low:.1%}, {told.high:.1%}], measured {one['savings']:.1%}",
                f"{errors[-1]:+.2f} points",
                sep="; ",
            )
    off = pd.Series(errors).abs()
    print(
        f"both steps: off by {off.mean():.2f} points in the mean, {off.max():.2f} at most; within two points "
        f"{(off <= 2).sum()} of {len(off)}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
