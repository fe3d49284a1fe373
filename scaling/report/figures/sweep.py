"""The figure of a sweep: runs and law, one panel a text, the recommended student among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scaling.fit.describe import made_of
from scaling.fit.result import Fit
from scaling.predict.recommend.candidates import Candidate
from scaling.report.figures.by_size import loss_by_size
from scaling.report.figures.points import run_points
from scaling.report.figures.style import errors, shortened, styled
from scaling.tables.units import NATS

if TYPE_CHECKING:
    import pandas as pd


def save_sweep_figure(
    path: str | Path, fit: Fit, runs: pd.DataFrame, *, choice: Candidate | None = None, measured: float | None = None
) -> Path:
    """`sweep_figure`, written to a file whose ending chooses the format: .png, .svg or .pdf."""
    with styled():
        sweep_figure(fit, runs, choice=choice, measured=measured).savefig(path)
    return Path(path)


def sweep_figure(
    fit: Fit, runs: pd.DataFrame, *, choice: Candidate | None = None, measured: float | None = None
) -> Figure:
    """Runs and law, one panel a text.

    Args:
        fit: The law.
        runs: The runs table behind it.
        choice: Recommended configuration, drawn with its interval.
        measured: Loss that the recommended student reached.
    """
    # In the order of the table, which is that of the sweep file.
    texts = list(dict.fromkeys(run_points(fit, runs).used.text))
    with styled():
        figure = Figure(figsize=(3.4 * len(texts), 3.4))
        panels = figure.subplots(1, len(texts), sharey=True, squeeze=False)[0]
        for ax, text in zip(panels, texts, strict=True):
            loss_by_size(fit, ax, runs=runs, teacher=text)
            ax.set_title(shortened([text])[0])
            # The entropy of a world is known by its tokens, which are no bytes.
            if fit.unit == NATS and "entropy" in runs and runs["entropy"].notna().any():
                ax.axhline(runs["entropy"].mean(), color="0.2", lw=0.8, label="exact entropy")
            if choice is not None and _label(fit, choice) == text:
                recommended(ax, choice, measured=measured)
            ax.get_legend().remove()
            ax.label_outer()
        # One legend for all panels: they show the same volumes.
        handles, labels = _unique_legend(panels)
        # A figure travels without its table, so it says which runs it is of.
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=min(2 * len(texts), len(labels)), title=made_of(fit)
        )
        legend.get_title().set(fontsize=7, color="0.4")
    return figure


def recommended(ax: Axes, choice: Candidate, *, measured: float | None) -> None:
    """The recommended configuration: its forecast with interval, and a hollow star where its measured loss came out."""
    forecast = choice.prediction
    bars = errors(forecast.low, forecast.value, forecast.high)
    ax.errorbar(
        [choice.n_params], [forecast.value], yerr=bars, fmt="s", color="black", ms=5, capsize=3, label="forecast"
    )
    if measured is not None:
        # Hollow, so that the forecast under it can be seen.
        ax.plot(choice.n_params, measured, "*", mfc="none", color="black", ms=13, label="measured")


def _label(fit: Fit, choice: Candidate) -> str:
    """The label by which the table shows the text of a candidate."""
    return fit.texts.get(choice.run.data.text_id, choice.run.data.label)


def _unique_legend(panels: list[Axes]) -> tuple[list[Artist], list[str]]:
    found: dict[str, Artist] = {}
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
