"""The smallest model that meets a target loss within a memory budget, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from scaling.accounting import count_parameters
from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.predict.footprint import Footprint
from scaling.predict.forecast import MAX_REACH
from scaling.spec import ModelSpec, RunSpec

if TYPE_CHECKING:
    from scaling.fit.result import Fit

Binding = Literal["target", "smallest"]

RUNNERS_UP = 3


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One configuration with its forecast.

    Attributes:
        run: The configuration.
        n_params: N in the convention of the fit.
        loss: Forecast loss, nats/token.
        low: Lower end of the forecast interval.
        high: Upper end of the forecast interval.
        probability: P(loss ≤ target).
        reach: Largest factor by which N or D exceeds the data behind the fit (1 inside).
        footprint: Bytes on the phone.
    """

    run: RunSpec
    n_params: int
    loss: float
    low: float
    high: float
    probability: float
    reach: float
    footprint: Footprint


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The chosen configuration and why.

    Attributes:
        choice: The smallest candidate whose P(loss ≤ target) reaches the confidence within the memory.
        target_loss: What was asked, nats/token.
        memory_bytes: What was allowed.
        confidence: Probability that was asked for; 0.5 means that the forecast itself meets the target.
        level: Level of the forecast interval.
        binding: ``target`` if every smaller candidate misses the target, ``smallest`` if none smaller was offered.
        runners_up: The next larger candidates that qualify as well.
        floor: Loss of an infinite student on infinite text of this teacher.
    """

    choice: Candidate
    target_loss: float
    memory_bytes: int
    confidence: float
    level: float
    binding: Binding
    runners_up: tuple[Candidate, ...]
    floor: float

    @property
    def run(self) -> RunSpec:
        return self.choice.run


def size_of(model: ModelSpec, convention: str) -> int:
    """N of a model in the convention that a fit names (``n_params``, ``n_params_linear`` or ``n_params_total``)."""
    counts = count_parameters(model)
    if convention not in ("n_params", "n_params_linear", "n_params_total"):
        raise SpecError(
            f"the fit measures size by {convention!r}, which cannot be computed from a model; "
            "refit with n_params, n_params_linear or n_params_total"
        )
    return getattr(counts, convention)


def score(
    fit: Fit,
    runs: Sequence[RunSpec],
    *,
    target_loss: float,
    teacher: str,
    footprint: Callable[[ModelSpec], Footprint],
    level: float = 0.9,
) -> list[Candidate]:
    """Forecast every configuration at once, smallest footprint first (then fewest tokens)."""
    n = np.array([size_of(run.model, fit.columns["n"]) for run in runs], float)
    d = np.array([run.n_tokens for run in runs], float)
    forecast = fit.predict(n, d, teacher=teacher, level=level)
    chance = fit.probability(target_loss, n, d, teacher=teacher)
    reach = np.maximum(forecast.reach["n"], forecast.reach["d"])
    candidates = [
        Candidate(
            run=run,
            n_params=int(n[i]),
            loss=float(forecast.value[i]),
            low=float(forecast.low[i]),
            high=float(forecast.high[i]),
            probability=float(chance[i]),
            reach=float(reach[i]),
            footprint=footprint(run.model),
        )
        for i, run in enumerate(runs)
    ]
    return sorted(candidates, key=lambda c: (c.footprint.total_bytes, c.run.n_tokens))


def recommend(
    fit: Fit,
    runs: Sequence[RunSpec],
    *,
    target_loss: float,
    memory_bytes: int,
    teacher: str,
    footprint: Callable[[ModelSpec], Footprint],
    confidence: float = 0.5,
    level: float = 0.9,
    force: bool = False,
) -> Recommendation:
    """Choose the smallest configuration whose forecast meets a target within a memory budget.

    minimise ``footprint(run)`` subject to ``P(loss(run) ≤ target_loss) ≥ confidence`` and
    ``footprint(run) ≤ memory_bytes``.

    Args:
        fit: Forecasts losses.
        runs: Configurations to choose from; those beyond the memory serve to say what the target would need.
        target_loss: nats/token.
        memory_bytes: Budget for weights, cache, activations and engine.
        teacher: Label of the teacher whose text the students would read, as the fit knows it.
        footprint: Bytes on the phone of a model.
        confidence: Least acceptable P(loss ≤ target).
        level: Level of the reported interval.
        force: Accept forecasts more than ``MAX_REACH`` beyond the data.

    Raises:
        InfeasibleError: the target lies below the teacher's floor, or nothing within the memory meets it.
        ExtrapolationError: only configurations too far beyond the data meet it.
    """
    if not runs:
        raise SpecError("no configuration to choose from — got an empty list of candidates; widen widths or tokens")
    floor = float(fit.floor(teacher).value)
    candidates = score(fit, runs, target_loss=target_loss, teacher=teacher, footprint=footprint, level=level)
    fitting = [c for c in candidates if c.footprint.total_bytes <= memory_bytes]
    meeting = [c for c in candidates if c.probability >= confidence]
    qualified = [c for c in fitting if c.probability >= confidence]
    within = qualified if force else [c for c in qualified if c.reach <= MAX_REACH]
    if within:
        choice = within[0]
        smaller = [c for c in candidates if c.footprint.total_bytes < choice.footprint.total_bytes]
        return Recommendation(
            choice=choice,
            target_loss=target_loss,
            memory_bytes=memory_bytes,
            confidence=confidence,
            level=level,
            binding="target" if smaller else "smallest",
            runners_up=tuple(within[1 : 1 + RUNNERS_UP]),
            floor=floor,
        )
    if qualified:
        raise ExtrapolationError(
            f"only forecasts {qualified[0].reach:.3g}× beyond the data meet {target_loss:g} nats/token; "
            f"at most {MAX_REACH:g}× is trusted — train larger runs first, or repeat with --force"
        )
    raise _infeasible(target_loss, memory_bytes, confidence, floor, fitting, meeting)


def _infeasible(target, memory, confidence, floor, fitting, meeting) -> InfeasibleError:
    best = min((c.loss for c in fitting), default=None)
    needed = meeting[0].footprint.total_bytes if meeting else None
    said = "no candidate fits at all" if best is None else f"the best within it is forecast at {best:.4f}"
    if target <= floor:
        message = (
            f"a loss of {target:g} nats/token is out of reach: the floor of this teacher's text is {floor:.4f}; within "
            f"{mebibytes(memory)} {said} — ask for more than the floor, or use a better teacher"
        )
    elif needed is not None:
        message = (
            f"nothing within {mebibytes(memory)} meets {target:g} nats/token with probability {confidence:g}: {said}; "
            f"the target would need {mebibytes(needed)} — raise the memory or the target"
        )
    else:
        message = (
            f"no candidate meets {target:g} nats/token with probability {confidence:g}: {said}, the floor of this "
            f"teacher's text is {floor:.4f} — raise the target, or offer more tokens or larger widths"
        )
    return InfeasibleError(message, best_loss=best, needed_bytes=needed, floor=floor)


def mebibytes(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**20:.3g} MiB"
