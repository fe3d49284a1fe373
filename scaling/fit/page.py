"""A table of coefficients for a notebook or a paper, from plain values."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

Intervals = Mapping[str, tuple[float, float]]


def coefficient_table(title: str, values: Mapping[str, float], intervals: Intervals, level: float = 0.9) -> str:
    """HTML: one row a coefficient."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{value:.5g}</td><td>[{intervals[name][0]:.4g}, "
        f"{intervals[name][1]:.4g}]</td></tr>"
        for name, value in values.items()
    )
    head = f"<tr><th>coefficient</th><th>value</th><th>{level:.0%} interval</th></tr>"
    return f"<div><b>{html.escape(title)}</b><table>{head}{rows}</table></div>"


def latex_row(title: str, values: Mapping[str, float], intervals: Intervals) -> str:
    """One row of a LaTeX table: law, then value with interval for each coefficient."""
    cells = [title.replace("_", r"\_")]
    for name, value in values.items():
        low, high = intervals[name]
        cells.append(f"${_latex_number(value)}_{{[{_latex_number(low)}, {_latex_number(high)}]}}$")
    return " & ".join(cells) + r" \\"


def _latex_number(value: float) -> str:
    if not math.isfinite(value):
        return r"\text{--}"
    text = f"{value:.4g}"
    return text if "e" not in text else rf"{text.split('e')[0]}\cdot 10^{{{int(text.split('e')[1])}}}"
