"""The ledger as a figure: asked, forecast with its interval, measured; and how often targets were met by P."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from scaling.export.ledger.rows import FORECAST
from scaling.report.figures.style import errors, figure, hue
from scaling.tables.units import loss_unit

if TYPE_CHECKING:
    import pandas as pd

BINS = 4
"""Of promised probability."""


@figure("ledger")
def ledger(table: pd.DataFrame, ax: Axes) -> None:
    """One line a verification, from its target: forecast with its interval, and what was measured."""
    y = np.arange(len(table))
    # Targets of several sweeps differ by nats: seen from its own, each row can be read.
    low, said, high, found = (
        (table[name] - table["target_loss"]).to_numpy(float)
        for name in ("loss_low", "loss_forecast", "loss_high", "loss_measured")
    )
    bars = errors(low, said, high)
    ax.errorbar(said, y, xerr=bars, fmt="s", color=hue(0), capsize=3, label="forecast, with its interval")
    inside = table["loss_in_interval"].eq(True).to_numpy()
    for rows, fill, label in ((inside, hue(1), "measured"), (~inside, "white", "measured, outside the interval")):
        if rows.any():
            ax.plot(found[rows], y[rows], "o", color=hue(1), mfc=fill, ms=6, label=label)
    ax.axvline(0, color=hue(2), lw=1.2, label="target")
    ax.set_yticks(y, [f"{sweep} {run}" for sweep, run in zip(table["sweep"], table["run_id"], strict=True)])
    ax.invert_yaxis()
    units = sorted(set(map(loss_unit, table["loss_name"])))
    ax.set(xlabel=f"loss above its target, {' or '.join(units)}")


@figure("hit rate")
def hit_rate(table: pd.DataFrame, ax: Axes) -> None:
    """Share of targets that were met against the P that was promised; on the line promises hold."""
    # A student that was stored or run again was promised nothing more.
    known = table.dropna(subset=["probability", "target_met"]).drop_duplicates(list(FORECAST), keep="last")
    edges = np.linspace(0, 1, BINS + 1)
    which = np.clip(np.digitize(known["probability"], edges) - 1, 0, BINS - 1)
    for part in np.unique(which):
        own = known[which == part]
        x, y = own["probability"].mean(), own["target_met"].astype(bool).mean()
        ax.plot(x, y, "o", color=hue(0))
        ax.annotate(f"{len(own)} asked", (x, y), xytext=(-6, -12), ha="right", textcoords="offset points", fontsize=8)
    ax.plot([0, 1], [0, 1], color="0.4", lw=0.8)
    ax.set(xlabel="promised P(loss ≤ target)", ylabel="share of targets met", xlim=(0, 1.05), ylim=(0, 1.05))
