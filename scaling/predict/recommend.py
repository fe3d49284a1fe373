"""The smallest model that meets a target loss within a memory budget, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from scaling.accounting import count_parameters
from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.predict.footprint import Footprint
from scaling.spec import ModelSpec, RunSpec

Binding = Literal["target", "smallest"]

MAX_REACH = 10.0
"""A forecast more than this factor beyond the largest size or volume in the data is refused: a fit over one or two
decades says nothing certain about the third (laws.md of every published backtest: errors grow with reach)."""

RUNNERS_UP = 3


class Forecaster(Protocol):
    """What a recommendation needs of a fit: losses with intervals, and the chance of meeting a target."""

    def predict(self, n, d, *, teacher=None, delta_noise=0.0, delta_coverage=0.0, level=0.9): ...

    def probability(self, target, n, d, *, teacher=None, delta_noise=0.0, delta_coverage=0.0): ...

    def floor(self, *, teacher=None, delta_noise=0.0, delta_coverage=0.0) -> float: ...


@dataclass(frozen=True, kw_only=True)
class TeacherInputs:
    """What a fit is told about a teacher: its label, and its divergence from the truth where it is known."""

    teacher: str = "real"
    delta_noise: float = 0.0
    delta_coverage: float = 0.0

    def columns(self) -> dict[str, str | float]:
        return {"teacher": self.teacher, "delta_noise": self.delta_noise, "delta_coverage": self.delta_coverage}


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
    fit: Forecaster,
    runs: Sequence[RunSpec],
    *,
    target_loss: float,
    teacher: TeacherInputs,
    convention: str,
    footprint: Callable[[ModelSpec], Footprint],
    level: float = 0.9,
) -> list[Candidate]:
    """Forecast every configuration at once, smallest footprint first (then fewest tokens)."""
    n = np.array([size_of(run.model, convention) for run in runs], float)
    d = np.array([run.n_tokens for run in runs], float)
    forecast = fit.predict(n, d, level=level, **teacher.columns())
    chance = fit.probability(target_loss, n, d, **teacher.columns())
    candidates = [
        Candidate(
            run=run,
            n_params=int(n[i]),
            loss=float(forecast.value[i]),
            low=float(forecast.low[i]),
            high=float(forecast.high[i]),
            probability=float(chance[i]),
            reach=float(forecast.reach[i]),
            footprint=footprint(run.model),
        )
        for i, run in enumerate(runs)
    ]
    return sorted(candidates, key=lambda c: (c.footprint.total_bytes, c.run.n_tokens))


def recommend(
    fit: Forecaster,
    runs: Sequence[RunSpec],
    *,
    target_loss: float,
    memory_bytes: int,
    teacher: TeacherInputs,
    convention: str,
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
        teacher: Teacher whose text the students would read.
        convention: Which parameter count the fit uses.
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
    floor = float(fit.floor(**teacher.columns()))
    candidates = score(
        fit, runs, target_loss=target_loss, teacher=teacher, convention=convention, footprint=footprint, level=level
    )
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
