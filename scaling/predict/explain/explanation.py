"""One forecast taken apart: what each term costs, what a doubling would bring, and what binds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from scaling.errors import SpecError
from scaling.laws.batch import CriticalBatch
from scaling.predict.explain.basis import Basis, at
from scaling.predict.explain.teacher import Teacher, additive_bound, best_teacher, bottleneck, own_surface
from scaling.predict.measurement import Measured
from scaling.predict.solve.inverse import Surface, cheapest_training, tokens_for
from scaling.shown import Shown
from scaling.tables.units import BITS, NATS

if TYPE_CHECKING:
    import pandas as pd

Binding = Literal["capacity", "data", "precision", "teacher"]
MARGIN = 0.05
"""nats/token; how near "near the asymptote" is."""
SPLITS = np.linspace(0.0, 1.0, 101)
"""Shares of one doubling of compute that may go into size."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A loss in parts: ``loss = floor + size + data + precision + teacher``.

    Attributes:
        loss: nats/token.
        floor: E, loss of an infinite model on infinite real text.
        size: ``L(N, ∞) − E`` on real text: what this size costs.
        data: ``L(N, D) − L(N, ∞)`` on real text: what finite data costs.
        precision: What few bits add; 0 for a law of exact arithmetic.
        teacher: What the teacher's text adds at this N and D; 0 for real text.
    """

    loss: float
    floor: float
    size: float
    data: float
    precision: float
    teacher: float

    @property
    def binds(self) -> Binding:
        """The largest of the four."""
        parts: dict[Binding, float] = {"capacity": self.size, "data": self.data}
        parts |= {"precision": self.precision, "teacher": self.teacher}
        return max(parts, key=lambda name: parts[name])


def terms_of(basis: Basis, surface: Surface, n_params: float, n_tokens: float) -> Terms:
    """The parts of one loss of a surface."""
    loss, real = at(surface, n_params, n_tokens), basis.loss(n_params, n_tokens)
    exact, unlimited, floor = basis.exact_loss(n_params, n_tokens), basis.exact_loss(n_params, math.inf), basis.floor
    return Terms(
        loss=loss,
        floor=floor,
        size=unlimited - floor,
        data=exact - unlimited,
        precision=real - exact,
        teacher=loss - real,
    )


@dataclass(frozen=True, kw_only=True)
class EqualTraining:
    """The compute-optimal training on real text that reaches a loss; inf where none does.

    Attributes:
        n_params: N.
        n_tokens: D.
        flops: C = 6 N D.
        critical_batch_tokens: B_crit at the loss; None where no law of it was given.
        steps: At a batch of B_crit, which takes twice the tokens of small batches: 2 D / B_crit; None likewise.
    """

    n_params: float
    n_tokens: float
    flops: float
    critical_batch_tokens: float | None = None
    steps: float | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation(Shown):
    """The loss of one student and where it comes from.

    ``loss = floor + size_term + data_term + precision_term + teacher_term + runs_term``.

    Attributes:
        law: Name of the published law, or "fit".
        formula: The law with its numbers.
        source: Where it comes from.
        n_params: N, as the law counts it.
        n_tokens: D; may be infinite.
        loss: nats/token; by the additive bound where the law has no form of its own for a teacher.
        low: Least: the lower end of a fit's interval, or the bottleneck of a teacher; None without either. Of a teacher
            of whom a fit knows the loss alone, the bottleneck of the lower end of real text.
        high: Most: the upper end, or the additive bound, of the upper end of real text.
        level: Of the interval; None where the ends are bounds.
        error: Standard deviation of log loss by the fit's own tests, this far beyond its runs; None without a fit, and
            where the ends are bounds.
        bits_per_token: The same in bits; None for bits/byte where bytes per token were not given.
        bits_per_byte: The same per byte; None for nats/token where bytes per token were not given.
        floor: E, loss of an infinite model on infinite real text.
        size_term: ``L(N, ∞) − E`` on real text: what this size costs.
        data_term: ``L(N, D) − L(N, ∞)`` on real text: what finite data costs.
        precision_term: What few bits add, for a law of them; else 0.
        teacher_term: What the teacher's text adds at this N and D; 0 for real text.
        runs_term: By how much runs of a fit nearby lie off its law; 0 without a fit, or far from all of them.
        teacher: Whose text; None for real text.
        additive_bound: L(N, D) + delta; None for real text.
        bottleneck: E + (x^nu + delta^nu)^(1/nu), x the excess of real text, nu = 5 or what a fit has found sharper;
            None for real text.
        best_teacher_loss: Loss of the teacher that would serve this student best; None unless the law has one.
        best_teacher_gives: Loss of the student with it.
        gain_of_n: What one doubling of N would take off the loss.
        gain_of_d: Of D; 0 where D is infinite.
        gain_of_c: Of C = 6 N D, split best between both; None where D is infinite.
        tokens_to_asymptote: D at which the data term is 0.05 nats/token.
        equal: The compute-optimal training on real text that reaches the same loss.
        equal_of_bottleneck: That which reaches the bottleneck's value; None for real text.
        binds: The largest of the terms.
        reach: Factor by which N or D lies outside the runs behind the law; empty where those are unknown.
        notes: What a reader should know.
        basis: What it rests on: "measured", "law given 6 runs nearby", "law alone" or "published law".
        measured: What was measured of this very size, volume and text; the loss is then what the law says alone.
        unit: Of all losses.
        text: What is read, in words. Without a teacher, "real text" above is this text.
    """

    law: str
    formula: str
    source: str
    n_params: float
    n_tokens: float
    loss: float
    low: float | None
    high: float | None
    level: float | None
    error: float | None
    bits_per_token: float | None
    bits_per_byte: float | None
    floor: float
    size_term: float
    data_term: float
    precision_term: float
    teacher_term: float
    runs_term: float
    teacher: Teacher | None
    additive_bound: float | None
    bottleneck: float | None
    best_teacher_loss: float | None
    best_teacher_gives: float | None
    gain_of_n: float
    gain_of_d: float
    gain_of_c: float | None
    tokens_to_asymptote: float
    equal: EqualTraining
    equal_of_bottleneck: EqualTraining | None
    binds: Binding
    reach: Mapping[str, float]
    notes: tuple[str, ...]
    basis: str = "published law"
    measured: Measured | None = None
    unit: str = NATS
    text: str = "real text"

    def frame(self) -> pd.DataFrame:
        """One row a term of the loss, then the loss itself and the ends between which it lies."""
        import pandas as pd

        terms = {name: getattr(self, f"{name}_term") for name in ("size", "data", "precision", "teacher", "runs")}
        ends = {"loss": self.loss, "least": self.low, "most": self.high}
        told = {"floor": self.floor, **terms, **{name: value for name, value in ends.items() if value is not None}}
        return pd.DataFrame({"part": list(told), "loss": list(told.values())})

    def __str__(self) -> str:
        return f"{self.loss:.4f} {self.unit} by {self.law}; what limits it most: {self.binds}"


def explain(
    basis: Basis,
    n_params: float,
    n_tokens: float = math.inf,
    *,
    teacher: Teacher | None = None,
    taught: Surface | None = None,
    runs_term: float = 0.0,
    batch: CriticalBatch | None = None,
    bytes_per_token: float | None = None,
) -> Explanation:
    """Take one forecast apart.

    Args:
        basis: The law.
        n_params: N, as the law counts it; may be infinite.
        n_tokens: D; infinite asks for the limit.
        teacher: Whose text is read; None for real text.
        taught: Loss on the text of this teacher where it is known better than by the teacher's loss, as for a teacher
            of a fit.
        runs_term: By how much runs nearby lie off the law.
        batch: Law of the critical batch, for steps.
        bytes_per_token: Mean length of a token, for bits/byte.

    Raises:
        SpecError: an impossible size or length of a token.
    """
    for name, value in (("parameters", n_params), ("tokens", n_tokens), ("bytes per token", bytes_per_token or 1.0)):
        if not value > 0:
            raise SpecError(f"{name}: got {value:g}, allowed is a positive number — for example 1e6, 10M, inf")
    surface = taught or own_surface(basis, teacher)
    terms = terms_of(basis, surface, n_params, n_tokens)
    loss = terms.loss + runs_term
    best = None if teacher is None else best_teacher(basis, n_params, n_tokens)
    least = None if teacher is None else at(bottleneck(basis, teacher), n_params, n_tokens)
    bits, per_byte = in_bits(loss, basis.unit, bytes_per_token)
    # A law without a form of its own for teachers gives bounds instead of a value.
    low, high = (None, None) if taught is not None else bounds(basis, teacher, n_params, n_tokens)
    return Explanation(
        law=basis.name,
        formula=basis.formula,
        source=basis.source,
        n_params=n_params,
        n_tokens=n_tokens,
        loss=loss,
        low=low,
        high=high,
        level=None,
        error=None,
        bits_per_token=bits,
        bits_per_byte=per_byte,
        floor=terms.floor,
        size_term=terms.size,
        data_term=terms.data,
        precision_term=terms.precision,
        teacher_term=terms.teacher,
        runs_term=runs_term,
        teacher=teacher,
        additive_bound=None if teacher is None else at(additive_bound(basis, teacher), n_params, n_tokens),
        bottleneck=least,
        best_teacher_loss=None if best is None else best[0],
        best_teacher_gives=None if best is None else best[1],
        gain_of_n=terms.loss - at(surface, 2 * n_params, n_tokens),
        gain_of_d=terms.loss - at(surface, n_params, 2 * n_tokens),
        gain_of_c=gain_of_compute(surface, n_params, n_tokens),
        tokens_to_asymptote=tokens_to_asymptote(basis, surface, n_params),
        # The same loss may be had on real text with another share of size and data.
        equal=equal_training(basis, loss, batch),
        equal_of_bottleneck=None if least is None else equal_training(basis, least, batch),
        binds=terms.binds,
        reach=basis.reach(n_params, n_tokens),
        notes=basis.notes,
        unit=basis.unit,
    )


def in_bits(loss: float, unit: str, bytes_per_token: float | None) -> tuple[float | None, float | None]:
    """A loss in bits/token and in bits/byte, one of them None where the length of a token is needed and not known."""
    if unit == BITS:
        return None if bytes_per_token is None else loss * bytes_per_token, loss
    bits = loss / math.log(2)
    return bits, None if bytes_per_token is None else bits / bytes_per_token


def bounds(
    basis: Basis, teacher: Teacher | None, n_params: float, n_tokens: float
) -> tuple[float, float] | tuple[None, None]:
    """Bottleneck and additive bound of a teacher, where the law has no form of its own for it."""
    if teacher is None or basis.of_teacher is not None:
        return None, None
    one, other = bottleneck(basis, teacher), additive_bound(basis, teacher)
    return at(one, n_params, n_tokens), at(other, n_params, n_tokens)


def tokens_to_asymptote(basis: Basis, surface: Surface, n_params: float) -> float:
    """D at which a size comes within 0.05 nats/token of unlimited text; NaN where that has no limit."""
    limit = at(surface, n_params, math.inf)
    if not (basis.of_both and math.isfinite(limit)):
        return math.nan
    return float(tokens_for(surface, limit + MARGIN, np.array([n_params], float))[0])


def equal_training(basis: Basis, loss: float, batch: CriticalBatch | None = None) -> EqualTraining:
    """The compute-optimal training on real text that reaches a loss; its steps where the critical batch is known."""
    n, d = cheapest_training(basis.exact or basis.real, loss) if basis.of_both else (math.nan, math.nan)
    critical = None if batch is None else float(batch.tokens(np.asarray(loss)))
    steps = None if critical is None else 2 * d / critical
    return EqualTraining(n_params=n, n_tokens=d, flops=6 * n * d, critical_batch_tokens=critical, steps=steps)


def gain_of_compute(surface: Surface, n_params: float, n_tokens: float) -> float | None:
    """What twice the compute would take off the loss, N 2^s and D 2^(1−s) with the best s in [0, 1]; None where N or D
    is infinite.
    """
    if math.isinf(n_params) or math.isinf(n_tokens):
        return None
    losses = surface(n_params * 2**SPLITS, n_tokens * 2 ** (1 - SPLITS))
    return at(surface, n_params, n_tokens) - float(np.min(losses))
