"""Size and steps that spend a fixed compute best, where loss is a law of size and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scaling.errors import SpecError
from scaling.laws.batch import CriticalBatch
from scaling.laws.kaplan import KaplanNS

Array = np.ndarray
LOG_SIZES = (math.log(1e2), math.log(1e18))


@dataclass(frozen=True, kw_only=True)
class OptimalSteps:
    """The best training of a compute, C_min = 6 N B_crit S_min.

    Attributes:
        flops: C_min, at batches far below the critical one.
        n_params: N, without embeddings.
        s_min: Fewest steps, at batches far above it.
        loss: nats/token.
        critical_batch_tokens: B_crit at that loss.
        steps: Steps at a batch of B_crit, 2 S_min.
        n_tokens: Tokens read at that batch, 2 S_min B_crit; the training then takes 2 C_min.
    """

    flops: float
    n_params: float
    s_min: float
    loss: float
    critical_batch_tokens: float
    steps: float
    n_tokens: float


def optimal_steps(law: KaplanNS, batch: CriticalBatch, flops: float) -> OptimalSteps:
    """Size and steps with the lowest loss at a fixed compute.

    Args:
        law: L(N, S_min).
        batch: B_crit(L).
        flops: C_min.

    Raises:
        SpecError: an impossible compute.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, section 6 and appendix B.
    """
    if not 0 < flops < math.inf:
        raise SpecError(f"a compute is a finite number of FLOPs above zero — got {flops:g}")
    low, high = LOG_SIZES
    # Grids of sizes, each about the best of the one before.
    for _ in range(5):
        log_n = np.linspace(low, high, 161)
        steps = steps_of(law, batch, np.exp(log_n), flops)
        losses = law.loss(n=np.exp(log_n), s_min=steps)
        best = int(np.argmin(losses))
        spacing = (high - low) / 160
        low, high = log_n[best] - 2 * spacing, log_n[best] + 2 * spacing
    loss, s_min = float(losses[best]), float(steps[best])
    critical = float(batch.tokens(np.asarray(loss)))
    return OptimalSteps(
        flops=flops,
        n_params=math.exp(log_n[best]),
        s_min=s_min,
        loss=loss,
        critical_batch_tokens=critical,
        steps=2 * s_min,
        n_tokens=2 * s_min * critical,
    )


def steps_of(law: KaplanNS, batch: CriticalBatch, n_params: Array, flops: float) -> Array:
    """S_min that a compute leaves each size: 6 N B_crit(L(N, S)) S = C, by halving log S: float64[k].

    B_crit grows as the loss falls, so the compute grows with S.
    """
    low, high = np.full_like(n_params, -60.0), np.full_like(n_params, 60.0)
    for _ in range(80):
        middle = (low + high) / 2
        loss = law.loss(n=n_params, s_min=np.exp(middle))
        within = np.log(6 * n_params) + np.log(batch.tokens(loss)) + middle <= math.log(flops)
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.exp(low)
