"""Batch size and step count: the critical batch, and what a run would have cost at other batch sizes.

Training to a given loss takes S steps and E = B S examples. Between the fewest steps S_min (huge batches) and the
fewest examples E_min (tiny batches) lies (S/S_min - 1)(E/E_min - 1) = 1; the critical batch B_crit = E_min/S_min
depends on the loss alone.

**Source:** McCandlish et al. 2018, arXiv 1812.06162; Kaplan et al. 2020, arXiv 2001.08361, section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scaling.errors import FitError, SpecError

Array = np.ndarray


@dataclass(frozen=True)
class CriticalBatch:
    """B_crit(L) = B_star / (L - E)^(1/alpha_B), in tokens.

    Attributes:
        B_star: tokens at a loss of one nat/token above E.
        alpha_B: exponent.
        E: entropy of the text, nats/token; 0 is the law as published. Without it the critical batch stays finite at
            a loss that nobody can reach.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.4.
    """

    B_star: float
    alpha_B: float
    E: float = 0.0
    columns: ClassVar[tuple[str, ...]] = ("loss",)

    def __post_init__(self):
        if not (self.B_star > 0 and self.alpha_B > 0):
            raise SpecError(
                f"a critical batch needs B_star > 0 and alpha_B > 0: got {self.B_star:g} and {self.alpha_B:g}"
            )

    def tokens(self, loss: Array) -> Array:
        """Critical batch at a loss: float64[...], tokens."""
        excess = np.asarray(loss, float) - self.E
        if np.any(excess <= 0):
            raise SpecError(f"a loss of {np.min(loss):g} is at or below the entropy {self.E:g}: give losses above it")
        return self.B_star * excess ** (-1 / self.alpha_B)

    def loss(self, tokens: Array) -> Array:
        """Loss at which a batch of so many tokens is the critical one: the inverse of `tokens`."""
        return self.E + (self.B_star / np.asarray(tokens, float)) ** self.alpha_B

    def s_min(self, steps: Array, *, batch_tokens: Array, loss: Array) -> Array:
        """Fewest steps to the same loss: S_min = S/(1 + B_crit/B)."""
        return np.asarray(steps, float) / (1 + self.tokens(loss) / np.asarray(batch_tokens, float))

    def steps(self, s_min: Array, *, batch_tokens: Array, loss: Array) -> Array:
        """Steps at a batch, from the fewest: the inverse of `s_min`."""
        return np.asarray(s_min, float) * (1 + self.tokens(loss) / np.asarray(batch_tokens, float))

    def e_min(self, tokens: Array, *, batch_tokens: Array, loss: Array) -> Array:
        """Fewest tokens to the same loss: E_min = E/(1 + B/B_crit)."""
        return np.asarray(tokens, float) / (1 + np.asarray(batch_tokens, float) / self.tokens(loss))

    def c_min(self, flops: Array, *, batch_tokens: Array, loss: Array) -> Array:
        """Least compute to the same loss, at batches far below the critical one: C_min = C/(1 + B/B_crit)."""
        return self.e_min(flops, batch_tokens=batch_tokens, loss=loss)

    def __repr__(self) -> str:
        excess = f"(L - {self.E:.4g})" if self.E else "L"
        return f"CriticalBatch: B_crit = {self.B_star:.4g} tokens / {excess}^{1 / self.alpha_B:.4g}"


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
        n_batches: batch sizes that reached the loss.
    """

    loss: float
    s_min: float
    e_min: float
    b_crit: float
    b_crit_log_se: float
    rms: float
    n_batches: int


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
        Tokens; nan where the curve ends above the target, or begins below it.
    """
    u, v, goal = np.log(np.asarray(tokens, float)), np.log(np.asarray(loss, float)), math.log(target)
    reached = np.flatnonzero(v <= goal)
    if not len(reached) or reached[0] == 0:
        return math.nan
    i = reached[0]
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
        n_batches=len(b),
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
