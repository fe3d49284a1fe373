"""What the training losses say about a run's health: spikes, and the step at which it is given up as diverged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WINDOW = 100
"""Steps that a step is compared with: those before it."""

SPIKE_DEVIATIONS = 7.0
"""Standard deviations above the window that make a spike."""

SPIKE_GAP = 10
"""Steps apart from which two spikes are two."""

PATIENCE = 100
"""Steps in a row that a training may be worse than a guess before it is given up."""

MARGIN = 1.0
"""How much worse than a guess, nats/token."""

_DEVIATIONS_PER_MAD = 1.4826
_ROWS = 8192


def count_spikes(losses: np.ndarray) -> int:
    """Times that the training loss jumped out of its own noise.

    A step spikes if its loss lies more than seven standard deviations above the hundred steps before it; spikes less
    than ten steps apart are one. Centre and deviation are the median and 1.4826 times the median absolute deviation,
    which the spike itself and the fall of the loss hardly move.

    Args:
        losses: float32[n_steps], nats/token; what follows a loss that is not finite is left out.

    **Source:** OLMo et al. 2024, arXiv 2501.00656, section 3.2, whose spike score is "the percentage of values in a
    time series that are at least seven standard deviations away from a rolling average of the last 1,000 values". Its
    monitor in code (allenai/OLMo-core, src/olmo_core/train/callbacks/stability_monitor.py) asks for more than six
    standard deviations above the mean of the 128 values before. Both take mean and standard deviation and give a share
    of the steps. Here are the deviations of the paper, about the window of the code, and robust estimates: most of the
    trainings published here are shorter than 2000 steps, and the early fall of a loss widens the standard deviation of
    a thousand of them until it hides most spikes.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    losses = losses[: bad[0]] if len(bad) else losses
    if len(losses) <= WINDOW:
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(losses, WINDOW)[:-1]
    # In blocks, because the medians copy their windows.
    bounds = np.concatenate([_bounds(windows[row : row + _ROWS]) for row in range(0, len(windows), _ROWS)])
    steps = np.flatnonzero(losses[WINDOW:] > bounds)
    return int(len(steps) > 0) + int((np.diff(steps) >= SPIKE_GAP).sum())


def _bounds(windows: np.ndarray) -> np.ndarray:
    centre = np.median(windows, axis=1)
    spread = np.median(np.abs(windows - centre[:, None]), axis=1)
    return centre + SPIKE_DEVIATIONS * _DEVIATIONS_PER_MAD * spread


@dataclass(frozen=True)
class Diverged:
    """Where a training is given up, and why.

    Attributes:
        step: Counted from 0.
        reason: What happened, as a sentence begins.
    """

    step: int
    reason: str


def find_diverged(losses: np.ndarray, grad_norms: np.ndarray, vocab_size: int, *, begin: int = 0) -> Diverged | None:
    """First step at which a training counts as diverged, None for one that does not.

    One of three: its loss is not finite; its gradient is zero, because activations overflowed and nothing can be
    learned any more, which may leave the loss at a guess's; or it is the hundredth step in a row whose loss is more
    than 1 nat/token above both ``ln V``, which a uniform guess has, and the loss of the first step that learns it. A
    healthy training never stays above where it began, however large that was, so its early phase cannot be caught.

    Args:
        losses: float32[n_steps], training loss of every step from the first.
        grad_norms: float32[n_steps], of the gradient before clipping.
        vocab_size: V.
        begin: First step that learns this loss: before it, a recipe minimises something else, and it may be anything.
    """
    if not len(losses):
        return None
    step, first = np.arange(len(losses)), float(losses[min(begin, len(losses) - 1)])
    high = (step >= begin) & (losses > max(math.log(vocab_size), first) + MARGIN)
    # Steps since the last one that was not high, without a loop.
    in_a_row = step - np.maximum.accumulate(np.where(high, -1, step))
    signs = {
        "the training loss became non-finite": ~np.isfinite(losses),
        "the gradient became zero": grad_norms == 0,
        f"the training loss was {MARGIN:g} nat/token worse than a guess for {PATIENCE} steps": in_a_row >= PATIENCE,
    }
    found = [Diverged(int(at.argmax()), reason) for reason, at in signs.items() if at.any()]
    return min(found, key=lambda one: one.step, default=None)
