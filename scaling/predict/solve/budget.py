"""What a target loss needs, and what a budget gives: sizes, tokens, compute-optimal and inference-aware trainings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import InfeasibleError, SpecError
from scaling.predict.solve.inverse import Surface, cheapest_training, size_for, tokens_for
from scaling.shown import Shown
from scaling.tables.units import NATS

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
JOULES_PER_KWH = 3.6e6
"""As in `scaling.accounting`, which takes longer to load than an inverse takes."""
LOG_SIZES = (0.0, 80.0)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training that answers.

    Attributes:
        what: Which answer it is, in words.
        n_params: N.
        n_tokens: D; may be infinite for a limit.
        loss: In the unit of the law.
        flops: Of the training, 6 N D.
        lifetime_flops: With the tokens that the model will read and write in use: 6 N D + 2 N D_inf.
        low, high: Interval of the loss, of a fit; None for a published law.
    """

    what: str
    n_params: float
    n_tokens: float
    loss: float
    flops: float
    lifetime_flops: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Solution(Shown):
    """Trainings that answer one question.

    Attributes:
        question: In words.
        law: Name of the law.
        formula: The law with its numbers.
        source: Where it comes from.
        text: Whose text is read.
        floor: Loss of an infinite model on infinite text of that kind.
        inference_tokens: D_inf, tokens that the model will read and write in use.
        trainings: The answers.
        level: Of a fit's intervals; None for a published law.
        notes: What a reader should know.
        unit: Of all losses.
    """

    question: str
    law: str
    formula: str
    source: str
    text: str
    floor: float
    inference_tokens: float
    trainings: tuple[Training, ...]
    level: float | None
    notes: tuple[str, ...]
    unit: str = NATS

    def frame(self) -> pd.DataFrame:
        """One row a training."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.trainings])

    def __str__(self) -> str:
        return f"{self.question}, {self.text}, by {self.law}"


def lifetime_cost(inference_tokens: float) -> Callable[[Array, Array], Array]:
    """C(N, D) = 6 N D + 2 N D_inf: training, and a forward pass for every token in use.

    **Source:** Sardana et al. 2023, arXiv 2401.00448, eq. 2.
    """
    return lambda n, d: n * (6 * d + 2 * inference_tokens)


def trainings_for_loss(
    surface: Surface,
    loss: float,
    *,
    n_params: float | None = None,
    n_tokens: float | None = None,
    inference_tokens: float = 0.0,
) -> tuple[Training, ...]:
    """What reaches a loss: D for a given N, N for a given D, or the smallest and the cheapest of both.

    Args:
        surface: Loss over N and D.
        loss: Target, in the unit of the law.
        n_params: N, where it is given.
        n_tokens: D, where it is given; infinite asks for the limit.
        inference_tokens: D_inf; above zero, the training with the least cost of its whole life is added.

    Raises:
        InfeasibleError: no size or no volume reaches it; says the floor.
        SpecError: both N and D are given, which leaves nothing open, the loss does not depend on what is open, or it
            has no limit where none of it is given.
    """
    if n_params is not None and n_tokens is not None:
        raise SpecError("a target loss with both --params and --tokens leaves nothing open: leave one of them out")
    # What is given decides what is open: D, N, or both.
    made = _maker(surface, inference_tokens)
    floor = _at(surface, math.inf, math.inf)
    if n_params is not None:
        d = float(tokens_for(surface, loss, np.array([n_params], float))[0])
        least = _at(surface, n_params, math.inf)
        _reached(d, loss, least, f"N = {n_params:.3g} comes to {least:.4g} on unlimited text", floor)
        return (made("tokens for this size", n_params, d),)
    if n_tokens is not None:
        n = float(size_for(surface, loss, np.array([n_tokens], float))[0])
        least = _at(surface, math.inf, n_tokens)
        _reached(n, loss, least, f"D = {n_tokens:.3g} brings even an infinite model to {least:.4g} only", floor)
        return (made("smallest size for these tokens", n, n_tokens),)
    smallest = float(size_for(surface, loss, np.array([math.inf]))[0])
    _reached(smallest, loss, floor, f"this text ends at its floor {floor:.4g}", floor)
    answers = [made("smallest size, of unlimited tokens", smallest, math.inf)]
    answers.append(made("compute-optimal", *cheapest_training(surface, loss)))
    if inference_tokens > 0:
        cheapest = cheapest_training(surface, loss, lifetime_cost(inference_tokens))
        answers.append(made("inference-aware", *cheapest))
    return tuple(answers)


def trainings_for_budget(
    surface: Surface,
    flops: float,
    *,
    n_params: float | None = None,
    n_tokens: float | None = None,
    inference_tokens: float = 0.0,
) -> tuple[Training, ...]:
    """What a budget of training FLOPs gives: at a given N or D, or split best between both.

    With `inference_tokens` the budget also pays for the model's use, 6 N D + 2 N D_inf.

    Args:
        surface: Loss over N and D.
        flops: Budget, 6 N D.
        n_params: N, where it is given.
        n_tokens: D, where it is given.
        inference_tokens: D_inf; above zero, the best split of a budget of training and use is added.

    Raises:
        SpecError: an impossible budget, or N and D are both given.
        InfeasibleError: the loss falls to an end of all sizes along the budget.
    """
    if not 0 < flops < math.inf:
        raise SpecError(f"a training budget is a finite number of FLOPs above zero — got {flops:g}")
    if n_params is not None and n_tokens is not None:
        raise SpecError("a budget with both --params and --tokens leaves nothing open: leave one of them out")
    if math.inf in (n_params, n_tokens):
        raise SpecError("a budget trains a finite size on finite tokens: got inf — give a number, or leave it out")
    # What is given decides what is open: D, N, or the split between both.
    made = _maker(surface, inference_tokens)
    if n_params is not None:
        return (made("tokens that the budget buys this size", n_params, flops / (6 * n_params)),)
    if n_tokens is not None:
        return (made("size that the budget trains on these tokens", flops / (6 * n_tokens), n_tokens),)
    answers = [made("compute-optimal", *_best_split(surface, flops, 0.0))]
    if inference_tokens > 0:
        answers.append(made("inference-aware", *_best_split(surface, flops, inference_tokens)))
    return tuple(answers)


def flops_of_energy(kwh: float, *, flops_per_s: float, watts: float, pue: float = 1.0) -> float:
    """FLOPs that an energy pays for: ``kWh · 3.6e6 / (watts · pue) · FLOPs/s``.

    Raises:
        SpecError: a figure that is not positive.
    """
    for name, value in (("--energy", kwh), ("--flops-per-s", flops_per_s), ("--watts", watts)):
        if not 0 < value < math.inf:
            raise SpecError(f"{name}: got {value:g}, allowed is a positive number")
    return kwh * JOULES_PER_KWH / (watts * pue) * flops_per_s


def _best_split(surface: Surface, flops: float, inference_tokens: float) -> tuple[float, float]:
    """N and D with the lowest loss of 6 N D + 2 N D_inf = C: grids, each about the best point of the one before."""
    low, high = LOG_SIZES
    for zoom in range(5):
        log_n = np.linspace(low, high, 241)
        n = np.exp(log_n)
        d = flops / (6 * n) - inference_tokens / 3
        losses = np.where(d > 0, surface(n, np.maximum(d, 1e-300)), np.inf)
        best = int(np.argmin(losses))
        if zoom == 0 and (best == 0 or d[best] <= 1 or not math.isfinite(losses[best])):
            raise InfeasibleError(
                f"{flops:.3g} FLOPs have no best size under this law: along the budget its loss falls to an end of all "
                "sizes — give --params or --tokens, or a larger budget"
            )
        step = (high - low) / 240
        low, high = log_n[best] - 2 * step, log_n[best] + 2 * step
    return float(n[best]), float(d[best])


def _maker(surface: Surface, inference_tokens: float) -> Callable[[str, float, float], Training]:
    life = lifetime_cost(inference_tokens)

    def made(what: str, n: float, d: float) -> Training:
        both = math.isfinite(n) and math.isfinite(d)
        return Training(
            what=what,
            n_params=n,
            n_tokens=d,
            loss=_at(surface, n, d) if both or math.isfinite(n) or math.isfinite(d) else math.nan,
            flops=6 * n * d,
            lifetime_flops=float(life(np.asarray(n), np.asarray(d))),
        )

    return made


def _reached(found: float, loss: float, least: float, why: str, floor: float) -> None:
    if not math.isfinite(found) and not math.isfinite(least):
        raise SpecError(
            f"a loss of {loss:g} cannot be asked of unlimited text: this law's loss has no finite limit there — give "
            "--tokens, or name another law"
        )
    if not math.isfinite(found):
        raise InfeasibleError(
            f"a loss of {loss:g} is out of reach: {why} — ask for more than {least:.4g}, or read other text",
            best_loss=least,
            floor=floor,
        )
    if found == 0:
        raise SpecError(f"a loss of {loss:g} asks for nothing: what is sought makes no difference under this law")


def _at(surface: Surface, n: float, d: float) -> float:
    return float(np.ravel(surface(np.array([n]), np.array([d])))[0])
