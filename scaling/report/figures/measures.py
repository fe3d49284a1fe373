"""What a loss alone does not say: what a text read before is worth, what a vocabulary costs, what a keyboard saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from scaling.fit.measures.savings import fit_savings
from scaling.fit.measures.transfer import Transfer
from scaling.report.figures.style import figure, hue, measured, short

if TYPE_CHECKING:
    import pandas as pd


@figure("transferred")
def transferred(found: Transfer, ax: Axes) -> None:
    """Effective data as a multiple of what was read, one colour a start, one mark a size, and 1 for what gained
    nothing; means over seeds."""
    points = found.frame().assign(multiple=lambda table: table["effective"] / table["d"])
    colours = {start: hue(i) for i, start in enumerate(points["start"].unique())}
    marks = dict(zip(sorted(points["n"].unique()), "os^Dv*", strict=False))
    for _, own in points.groupby(["start", "n"], sort=False):
        start, n = own["start"].iloc[0], own["n"].iloc[0]
        means = own.groupby("d")["multiple"].mean()
        look = f"-{marks.get(n, '.')}"
        ax.plot(means.index, means, look, color=colours[start], label=f"{start}, N = {short(n)}")
    ax.axhline(1, lw=0.8, color="0.5")
    ax.set(xscale="log", yscale="log", xlabel="D, tokens read", ylabel="effective data / data")


@figure("bits by vocabulary")
def bits_by_vocabulary(runs: pd.DataFrame, ax: Axes) -> None:
    """Bits a byte over bytes of the file, one line a vocabulary, of the students that read most.

    Args:
        runs: with `vocab_size`, `n_tokens`, `file_bytes` and `bits_per_byte`, as results/reference/vocabulary.csv.
    """
    most = runs.groupby("vocab_size")["n_tokens"].transform("max")
    for size, own in runs[runs["n_tokens"] == most].groupby("vocab_size"):
        own = own.sort_values("file_bytes")
        ax.plot(own["file_bytes"], own["bits_per_byte"], "-o", label=f"V = {size:,}")
    ax.set(xscale="log", xlabel="int8 file with its tokenizer, bytes", ylabel="bits/byte")


@figure("keystrokes")
def keystrokes(table: pd.DataFrame, ax: Axes) -> None:
    """Savings over bits of a byte: students with the line through them and its 90 % interval, n-gram models beside.

    Args:
        table: as `scaling keyboard` writes it, with `model`, `bits_per_byte`, `savings` and `savings_se`.
    """
    for name, label, look in (("student", "students", "o"), ("ngram", "n-grams of as many bytes", "x")):
        own = table[table["model"] == name]
        if len(own):
            measured(ax, own["bits_per_byte"], own["savings"], own["savings_se"], fmt=look, label=label)
    line = fit_savings(table)
    bits = np.linspace(line.lowest, line.highest, 50)
    told = [line.predict(one) for one in bits]
    ax.plot(bits, [one.value for one in told], color=hue(0))
    ax.fill_between(bits, [one.low for one in told], [one.high for one in told], color=hue(0), alpha=0.15)
    ax.set(xlabel="bits/byte", ylabel="share of keystrokes saved")
