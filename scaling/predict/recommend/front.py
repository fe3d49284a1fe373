"""What can be had at all: the configurations that no other beats both in bytes and in loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaling.predict.recommend.candidates import Candidate


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """One configuration of the front.

    Attributes:
        total_bytes: Footprint on the phone.
        loss: That decides: measured, or else forecast; with what the stored format adds.
        probability: P(loss ≤ target).
        reach: Factor beyond the data behind the law.
        width: M.
        n_layers: L.
        n_params: N in the convention of the fit.
        n_tokens: D.
        vocab_size: V; None in files of before, whose front is of one vocabulary.
    """

    total_bytes: int
    loss: float
    probability: float
    reach: float
    width: int
    n_layers: int
    n_params: int
    n_tokens: int
    vocab_size: int | None = None


def pareto_front(candidates: Sequence[Candidate]) -> tuple[FrontPoint, ...]:
    """Those of which none is as small and as good or better, smallest first; of equals the first."""
    return undominated(map(_point, candidates))


def undominated(points: Iterable[FrontPoint]) -> tuple[FrontPoint, ...]:
    """`pareto_front`, of points."""
    best, front = float("inf"), []
    for one in sorted(points, key=lambda point: (point.total_bytes, point.loss, point.n_tokens)):
        if one.loss < best:
            best = one.loss
            front.append(one)
    return tuple(front)


def _point(one: Candidate) -> FrontPoint:
    return FrontPoint(
        total_bytes=one.footprint.total_bytes,
        loss=one.expected.value,
        probability=one.probability,
        reach=one.reach,
        width=one.model.width,
        n_layers=one.model.n_layers,
        n_params=one.n_params,
        n_tokens=one.n_tokens,
        vocab_size=one.model.vocab_size,
    )
