"""The critical batch, from trainings that reach the same losses at several batch sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError
from scaling.laws.batch import CriticalBatch

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class BatchTradeoff:
    """One loss, reached at several batch sizes: (S/S_min - 1)(E/E_min - 1) = 1.

    Attributes:
        loss: the loss that was reached, nats/token.
        s_min: S_min, fewest steps.
        e_min: E_min, fewest tokens.
        b_crit: E_min/S_min, tokens.
        b_crit_log_se: standard error of log b_crit.
        rms: scatter of log tokens about the hyperbola.
    """

    loss: float
    s_min: float
    e_min: float
    b_crit: float
    b_crit_log_se: float
    rms: float


@dataclass(frozen=True, kw_only=True)
class CriticalBatchFit:
    """A CriticalBatch and the evidence for it.

    Attributes:
        law: the law.
        log_B_star_se: standard error of log B_star.
        inverse_alpha_B_se: standard error of 1/alpha_B. Losses read from the same trainings share their noise, which
            these errors do not see: they are lower bounds.
        rms: scatter of log B_crit about the law.
    """

    law: CriticalBatch
    log_B_star_se: float
    inverse_alpha_B_se: float
    rms: float


def tokens_to_loss(tokens: Array, loss: Array, target: float) -> float:
    """Tokens at which a learning curve first reaches a loss, by a straight line in log loss over log tokens.

    Args:
        tokens: float64[n], growing.
        loss: float64[n], nats/token.
        target: the loss to reach.

    Returns:
        Tokens; nan where the curve ends above the target, or begins at it or below: its tokens say nothing there.
    """
    reached = np.flatnonzero(np.asarray(loss, float) <= target)
    if not len(reached) or reached[0] == 0:
        return math.nan
    u, v, goal, i = np.log(np.asarray(tokens, float)), np.log(np.asarray(loss, float)), math.log(target), reached[0]
    return math.exp(u[i - 1] + (u[i] - u[i - 1]) * (v[i - 1] - goal) / (v[i - 1] - v[i]))


def fit_tradeoff(batch_tokens: Array, tokens: Array, loss: float) -> BatchTradeoff:
    """The hyperbola through the tokens that several batch sizes need to one loss.

    In tokens it reads log E = log E_min + log(1 + B/B_crit), fitted by least squares.

    Args:
        batch_tokens: float64[n], B in tokens, the learning rate retuned for each.
        tokens: float64[n], E = B S at the loss; nan where the loss was not reached.
        loss: the loss, nats/token.

    Raises:
        FitError: fewer than four batch sizes reached the loss, or B_crit lies beyond those tried.

    **Source:** McCandlish et al. 2018, arXiv 1812.06162, eq. 2.11.
    """
    from scipy.optimize import minimize_scalar

    tokens = np.asarray(tokens, float)
    known = np.isfinite(tokens)
    b, y = np.asarray(batch_tokens, float)[known], np.log(tokens[known])
    if len(np.unique(b)) < 4:
        raise FitError(
            f"{len(np.unique(b))} batch sizes reached a loss of {loss:g}; a hyperbola with its error needs four: "
            "train longer, or at more batch sizes"
        )

    def residual(log_crit: float) -> Array:
        bend = np.log1p(b / math.exp(log_crit))
        return y - bend - (y - bend).mean()

    low, high = math.log(b.min()) - 2, math.log(b.max()) + 2
    grid = np.linspace(low, high, 81)
    start = grid[np.argmin([np.sum(residual(point) ** 2) for point in grid])]
    step = grid[1] - grid[0]
    found = minimize_scalar(lambda z: np.sum(residual(z) ** 2), bounds=(start - step, start + step), method="bounded").x
    if not low + step < found < high - step:
        side = "below the smallest" if found < math.log(b.min()) else "above the largest"
        raise FitError(
            f"at a loss of {loss:g} the critical batch lies far {side} batch tried "
            f"({b.min():g} to {b.max():g} tokens): try others there"
        )
    b_crit = math.exp(found)
    share = b / (b + b_crit)  # - d log E / d log B_crit
    variance = np.sum(residual(found) ** 2) / (len(b) - 2)
    e_min = math.exp(np.mean(y - np.log1p(b / b_crit)))
    return BatchTradeoff(
        loss=loss,
        s_min=e_min / b_crit,
        e_min=e_min,
        b_crit=b_crit,
        b_crit_log_se=math.sqrt(variance / np.sum((share - share.mean()) ** 2)),
        rms=math.sqrt(np.mean(residual(found) ** 2)),
    )


def fit_critical_batch(tradeoffs: Sequence[BatchTradeoff], *, E: float = 0.0) -> CriticalBatchFit:
    """B_star and alpha_B from the critical batches at several losses: a line in log B_crit over log(L - E).

    Args:
        tradeoffs: at three losses or more; weighted by 1/b_crit_log_se^2.
        E: entropy of the text, where it is known.

    Raises:
        FitError: too few losses, one at or below E, or a critical batch that does not grow as the loss falls.
    """
    excess = np.array([one.loss for one in tradeoffs]) - E
    if len(excess) < 3 or np.any(excess <= 0):
        raise FitError(
            f"a law of the critical batch needs three losses above the entropy {E:g}, "
            f"got {', '.join(f'{one.loss:g}' for one in tradeoffs) or 'none'}: read more, between the curves' ends"
        )
    y = np.log([one.b_crit for one in tradeoffs])
    scale = 1 / np.array([max(one.b_crit_log_se, 1e-6) for one in tradeoffs])
    design = np.stack([np.ones_like(y), -np.log(excess)], axis=1)
    (log_star, power), *_ = np.linalg.lstsq(design * scale[:, None], y * scale, rcond=None)
    residual = y - design @ [log_star, power]
    if power <= 0:
        raise FitError(
            f"the critical batch falls with the loss (as the excess to the power {-power:.2g}), where theory has it "
            "grow: the rates are not tuned for each batch, or the losses too close together"
        )
    # Errors of the points alone, widened where they scatter more than that.
    widen = max(1.0, np.sum((residual * scale) ** 2) / (len(y) - 2))
    covariance = widen * np.linalg.inv((design * scale[:, None]).T @ (design * scale[:, None]))
    return CriticalBatchFit(
        law=CriticalBatch(math.exp(log_star), 1 / power, E),
        log_B_star_se=math.sqrt(covariance[0, 0]),
        inverse_alpha_B_se=math.sqrt(covariance[1, 1]),
        rms=math.sqrt(np.mean(residual**2)),
    )
