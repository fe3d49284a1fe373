"""Figures. The only module that loads matplotlib; functions take and return axes and never show a window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from scaling.fit.describe import made_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from scaling.fit.result import Fit
    from scaling.predict.candidates import Candidate

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.prop_cycle": plt.cycler(color=plt.get_cmap("viridis")(np.linspace(0, 0.85, 6))),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "savefig.dpi": 160,
}


def save_sweep_figure(
    path: str | Path, fit: Fit, runs: pd.DataFrame, *, choice: Candidate | None = None, measured: float | None = None
) -> Path:
    """Runs and law, one panel a teacher, written as a figure.

    Args:
        path: File to write; the ending chooses the format.
        fit: The law.
        runs: The runs table behind it.
        choice: Recommended configuration, drawn with its interval.
        measured: Loss that the recommended student reached.
    """
    # In the order of the table, which is that of the sweep file.
    teachers = list(dict.fromkeys(runs["teacher"]))
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(teachers), figsize=(3.4 * len(teachers), 3.2), sharey=True, squeeze=False)
        for axes, teacher in zip(panels[0], teachers, strict=True):
            plot_runs(axes, fit, runs[runs["teacher"] == teacher], teacher=teacher)
            if choice is not None and _label(fit, choice) == teacher:
                plot_choice(axes, choice, measured=measured)
        panels[0][0].set_ylabel("loss, nats/token")
        # One legend for all panels: they show the same volumes.
        handles, labels = _unique_legend(panels[0])
        figure.legend(handles, labels, loc="outside lower center", ncols=min(2 * len(teachers), len(labels)))
        # A figure travels without its table, so it says which runs it is of.
        figure.supxlabel(made_of(fit), fontsize=7, color="0.4")
        figure.savefig(path)
        plt.close(figure)
    return Path(path)


def plot_runs(axes: Axes, fit: Fit, runs: pd.DataFrame, *, teacher: str) -> Axes:
    """Measured losses over model size, one colour a volume; lines are the law, dashed where it extrapolates."""
    size, volume = fit.columns["n"], fit.columns["d"]
    low, high = fit.ranges["n"]
    inside, outside = np.geomspace(low, high, 60), np.geomspace(high, 4 * high, 20)
    for tokens in sorted(runs[volume].unique()):
        group = runs[runs[volume] == tokens]
        (line,) = axes.plot(inside, fit.loss(inside, tokens, teacher=teacher), lw=1.2)
        axes.plot(outside, fit.loss(outside, tokens, teacher=teacher), "--", lw=0.9, color=line.get_color())
        axes.plot(group[size], group["loss"], "o", ms=4, color=line.get_color(), label=f"D = {tokens / 1e3:,.0f}k")
    axes.axhline(fit.floor(teacher).value, color="0.5", lw=0.8, ls=":", label="floor of the law")
    if "entropy" in runs and runs["entropy"].notna().any():
        axes.axhline(runs["entropy"].mean(), color="0.2", lw=0.8, label="exact entropy")
    axes.set_xscale("log")
    axes.set_title(teacher if len(teacher) < 24 else f"{teacher[:21]}…")
    axes.set_xlabel(f"N ({size})")
    return axes


def plot_choice(axes: Axes, choice: Candidate, *, measured: float | None) -> Axes:
    """The recommended configuration: its forecast with interval, and a star where its measured loss came out."""
    forecast = choice.prediction
    error = [[forecast.value - forecast.low], [forecast.high - forecast.value]]
    axes.errorbar(choice.n_params, forecast.value, yerr=error, fmt="s", color="C3", ms=5, capsize=3, label="forecast")
    if measured is not None:
        axes.plot(choice.n_params, measured, "*", color="crimson", ms=11, label="measured")
    return axes


def _label(fit: Fit, choice: Candidate) -> str:
    """The label by which the table shows the text of a candidate."""
    return fit.texts.get(choice.run.data.text_id, choice.run.data.label)


def _unique_legend(panels: Sequence[Axes]) -> tuple[list[Artist], list[str]]:
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
