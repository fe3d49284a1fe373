"""What fits a phone: bytes against loss with the front and the budgets, bytes by part, damage against bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from scaling.predict.phones.devices import device
from scaling.predict.phones.footprint import Footprint
from scaling.predict.recommend.recommendation import Recommendation
from scaling.report.figures.by_size import loss_in
from scaling.report.figures.style import errors, few, figure, hue, short

if TYPE_CHECKING:
    import pandas as pd

    from scaling.laws.law import ScalingLaw

MIB = 2**20


@figure("bytes and loss")
def bytes_and_loss(
    answer: Recommendation,
    ax: Axes,
    *,
    phones: Sequence[str] = (),
    ledger: pd.DataFrame | None = None,
) -> None:
    """Loss against memory: the Pareto front, the choice with its interval, the target, and what phones allow.

    Args:
        answer: of `scaling.recommend`.
        phones: names of devices whose budgets for one app are drawn, beside the one that was asked about.
        ledger: every student that was tried, as measured.
    """
    _front(ax, answer)
    if ledger is not None:
        _tries(ax, ledger.dropna(subset=["peak_bytes_measured", "loss_measured"]))
    at, loss = answer.footprint.total_bytes / MIB, answer.choice.expected
    bars = errors(loss.low, loss.value, loss.high)
    ax.errorbar([at], [loss.value], yerr=bars, fmt="s", color=hue(1), ms=7, capsize=3, label="recommended")
    ax.axhline(answer.question.target_loss, color=hue(2), lw=1, label=f"target {answer.question.target_loss:g}")
    _budgets(ax, {"budget": answer.question.budget_bytes} | {name: device(name).app_bytes for name in phones})
    ax.set(xscale="log", xlabel="memory on the phone, MiB", ylabel=loss_in(answer.unit))


def _front(ax: Axes, answer: Recommendation) -> None:
    """What lies beyond the runs is hollow: it is forecast, and nothing like it was trained."""
    steps = [(point.total_bytes / MIB, point.loss) for point in answer.front]
    ax.plot(*zip(*steps, strict=True), "--", lw=0.8, color=hue(0), drawstyle="steps-post", label="_front")
    for inside, fill, label in ((True, hue(0), "front"), (False, "white", "front, beyond the runs")):
        own = [step for step, point in zip(steps, answer.front, strict=True) if (point.reach <= 1) == inside]
        if own:
            ax.plot(*zip(*own, strict=True), "o", mfc=fill, color=hue(0), label=label)
    if len({point.vocab_size for point in answer.front}) > 1:
        for step, point in zip(steps, answer.front, strict=True):
            ax.annotate(f"V {point.vocab_size:,}", step, xytext=(4, 4), textcoords="offset points", fontsize=7)


def _tries(ax: Axes, tried: pd.DataFrame) -> None:
    ax.plot(tried["peak_bytes_measured"] / MIB, tried["loss_measured"], "kx", ms=5, label="tries of the ledger")


def _budgets(ax: Axes, budgets: Mapping[str, int]) -> None:
    for i, (name, budget) in enumerate(budgets.items()):
        look, said = ("-", "--", "-.", ":")[i % 4], f"{name}: {budget / MIB:.0f} MiB"
        ax.axvline(budget / MIB, color="0.3", lw=1, ls=look, label=said)


@figure("bytes by part")
def bytes_by_part(footprint: Footprint, ax: Axes) -> None:
    """Memory of a model on the phone, one bar a part."""
    table = footprint.frame()
    bars = ax.barh(table["part"].str.replace("_", " "), table["bytes"] / MIB)
    ax.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="MiB")


@figure("damage")
def damage(table: pd.DataFrame, ax: Axes, *, law: ScalingLaw | None = None) -> None:
    """Loss that rounding adds against the bits of a weight, one colour a size; a law of it as lines.

    Args:
        table: rows of size, `bits`, `damage`, and its interval `damage_low`, `damage_high`.
        law: of n, d and bits, with its numbers.
    """
    bits = np.linspace(table["bits"].min(), table["bits"].max(), 61)
    for i, (size, rows) in enumerate(few(table["n_params"].to_numpy(float))):
        own, color = table[rows], hue(i)
        bars = errors(own["damage_low"], own["damage"], own["damage_high"])
        # Runs of one size differ in D: beside each other they can be seen.
        x = own["bits"] + 0.08 * (np.log(own["n_tokens"]) - np.log(own["n_tokens"]).mean())
        ax.errorbar(x, own["damage"], yerr=bars, fmt="o", ms=3, color=color, elinewidth=0.8, label=f"N = {short(size)}")
        if law is not None:
            tokens = float(np.exp(np.log(own["n_tokens"]).mean()))
            ax.plot(bits, law.loss(n=size, d=tokens, bits=bits), color=color)
    ax.set(yscale="log", ylim=(1e-5, None), xlabel="bits of a weight", ylabel="loss added, nats/token")
