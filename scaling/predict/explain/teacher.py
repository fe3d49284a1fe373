"""The teacher whose text is read: how far its text misses real text, and what that costs a student."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.errors import SpecError
from scaling.numbers import number
from scaling.predict.explain.basis import Basis, at
from scaling.predict.named.models import named_model
from scaling.predict.solve.inverse import Surface
from scaling.tables.units import NATS

Array = np.ndarray
TINY = 1e-300
"""Stands for an excess of zero, which nothing is divided by."""
SHARPNESS = 5.0
"""nu of the bottleneck where nothing was fitted: languages of known entropy, whose teachers lack the rare, gave 5 to
9 in this project's sweeps; the smaller, the more a teacher costs. A fit whose texts gave a larger one lets a teacher
cost less: its bottleneck has that."""
SAME_LOSS = 0.01
"""nats/token, within which two losses may be one: people write them with two decimals."""


LossFrom = Literal["asked", "law", "exact", "measured", "limit"]
NO_FLOOR = (
    "{} has no floor, so it cannot tell what a teacher's text misses — use hoffmann, besiroglu or busbridge, or "
    "`scaling trends` for where Kaplan's trends meet"
)
TOO_LOW = (
    "a teacher's loss of {:g} lies below the {} {:.4g} of {}, which nothing passes — give its loss on real text in "
    "nats/token of that law"
)


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A teacher of text, in the units of one law.

    Attributes:
        label: For people.
        loss: Its loss on real text, L_T, nats/token: no student of unlimited text of it does better on real text.
        delta: What its text misses, nats/token: L_T less the exact entropy where that is known, else less E.
        n_params: Its size, where the loss was computed from it.
        n_tokens: The real text that it read.
        loss_from: How its loss is known: asked for, computed by the law from its size, exact, measured, or not at all,
            where the law's limit stands for it.
        limit: Where the law ends students of unlimited text of it, of a text of a fit whose loss is not exact.
    """

    label: str
    loss: float
    delta: float
    n_params: float | None = None
    n_tokens: float | None = None
    loss_from: LossFrom = "asked"
    limit: float | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Where a law promises students more than their teacher has."""
        if self.loss_from != "measured" or self.limit is None or self.limit > self.loss - SAME_LOSS:
            return ()
        return (
            f"the law ends students of unlimited text of {self.label} at {self.limit:.4f}, below that teacher's own "
            f"loss of {self.loss:.4f}, which is all that its text can teach: do not trust it far beyond the runs",
        )


@dataclass(frozen=True, kw_only=True)
class TeacherAsked:
    """Who is meant: a name, a size and a volume, or a loss.

    Raises:
        SpecError: nothing is said, or two things at once.
    """

    name: str | None = None
    n_params: float | None = None
    n_tokens: float | None = None
    loss: float | None = None

    def __post_init__(self) -> None:
        sized = self.n_params is not None or self.n_tokens is not None
        said = [self.name is not None, sized, self.loss is not None]
        if sum(said) != 1 or (sized and None in (self.n_params, self.n_tokens)):
            raise SpecError(
                "a teacher is told by its name, by its size and its tokens, or by its loss — give one of the three "
                "(--teacher; --teacher-params and --teacher-tokens; --teacher-loss)"
            )

    def on(self, basis: Basis) -> Teacher:
        """The teacher in the units of a law.

        Raises:
            SpecError: the law has no floor to tell a divergence from, or the loss lies below it.
        """
        floor = basis.floor
        if not floor > 0:
            raise SpecError(NO_FLOOR.format(basis.name))
        label, n, d = self._size(basis)
        if self.loss is None:
            loss = basis.loss(n, d)
            return Teacher(label=label, loss=loss, delta=loss - floor, n_params=n, n_tokens=d, loss_from="law")
        least = basis.entropy_or_floor
        if not least <= self.loss < math.inf:
            what = "floor" if basis.entropy is None else "exact entropy behind the texts"
            raise SpecError(TOO_LOW.format(self.loss, what, least, basis.name))
        return Teacher(label=label, loss=self.loss, delta=self.loss - least)

    def _size(self, basis: Basis) -> tuple[str, float, float]:
        """Label, N and D; infinite where a loss was given."""
        if self.name is not None:
            known = named_model(self.name)
            if known.n_tokens is None:
                raise SpecError(
                    f"teacher {self.name}: {known.label}'s data was not published — give its loss (--teacher-loss)"
                )
            return known.label, known.size(embeddings=basis.embeddings), known.n_tokens
        if self.loss is not None:
            return f"a teacher of loss {self.loss:g}", math.inf, math.inf
        if self.n_params is None or self.n_tokens is None:
            raise SpecError("a teacher's size needs its tokens too — give both (--teacher-params and --teacher-tokens)")
        return f"a teacher of N = {number(self.n_params)}, D = {number(self.n_tokens)}", self.n_params, self.n_tokens


def additive_bound(basis: Basis, teacher: Teacher) -> Surface:
    """L(N, D) + delta: the teacher is wrong everywhere, and every error is learned; no student does worse for it in
    the limit of much text."""
    return lambda n, d: basis.real(n, d) + teacher.delta


def bottleneck(basis: Basis, teacher: Teacher) -> Surface:
    """E + (x^nu + delta^nu)^(1/nu), x = L(N, D) − E: what the teacher lacks costs nothing until the student gets there.

    **Source:** the form Q5 of `scaling.laws.teacher`.
    """
    floor, sharpness = basis.floor, sharpness_of(basis)
    return lambda n, d: _through(basis.real(n, d), teacher.delta, floor=floor, sharpness=sharpness)


def _through(real: Array, delta: float, *, floor: float, sharpness: float) -> Array:
    """The bottleneck of losses on real text."""
    excess = np.maximum(real - floor, 0.0)
    largest = np.maximum(np.maximum(excess, delta), TINY)
    return floor + largest * ((excess / largest) ** sharpness + (delta / largest) ** sharpness) ** (1 / sharpness)


def sharpness_of(basis: Basis) -> float:
    """nu of the bottleneck: of the heaviest law of a fit that has one, where it is sharper than what is usual.

    A least end is that of the mildest texts that are known: those of the fit, or those of this project's sweeps.
    """
    members = () if basis.fit is None else basis.fit.members
    fitted = [member for member in members if "nu" in member.law.names]
    if not fitted:
        return SHARPNESS
    heaviest = max(fitted, key=lambda member: member.weight)
    return max(SHARPNESS, dict(zip(heaviest.law.names, heaviest.law.vector.tolist(), strict=True))["nu"])


def ends_about(basis: Basis, teacher: Teacher, low: Array, high: Array) -> tuple[Array, Array]:
    """Ends for a teacher of whom a fit knows the loss alone, from those of an interval of real text: the bottleneck of
    the lower one, the additive bound of the upper one."""
    least = _through(low, teacher.delta, floor=basis.floor, sharpness=sharpness_of(basis))
    return least, high + teacher.delta


def like_own_text(basis: Basis, teacher: Teacher) -> tuple[str, ...]:
    """A note where a text of the fit has a teacher of about that loss: its students say more than any bound."""
    told = {} if basis.fit is None or basis.unit != NATS else basis.fit.teachers
    near = {name: loss for name, facts in told.items() if (loss := measured_loss(facts)) is not None}
    near = {name: loss for name, loss in near.items() if abs(loss - teacher.loss) <= SAME_LOSS}
    if not near:
        return ()
    label = min(near, key=lambda name: abs(near[name] - teacher.loss))
    return (
        f"a text of this fit has a teacher of loss {near[label]:.4f}: --teacher {shlex.quote(label)} (in Python "
        f"teacher={label!r}) answers from the students that read it, and more narrowly than these bounds",
    )


def measured_loss(facts: Mapping[str, float]) -> float | None:
    """Loss on real text of the teacher of a text, as the runs table has it, nats/token; None where it has none."""
    loss = facts.get("teacher_loss", 0.0)
    return loss if 0 < loss < math.inf else None


def own_surface(basis: Basis, teacher: Teacher | None) -> Surface:
    """Loss of the students: as the law has it, else by the additive bound, the cautious side."""
    if teacher is None:
        return basis.real
    if basis.of_teacher is None:
        return additive_bound(basis, teacher)
    # A fit counts from its own floor, wherever the error was counted from.
    return basis.of_teacher(teacher.loss if basis.fit is None else basis.floor + teacher.delta)


def best_teacher(basis: Basis, n_params: float, n_tokens: float) -> tuple[float, float] | None:
    """Teacher's loss at which this student ends lowest, and its loss there; None for a law without such an optimum.

    A law with a capacity gap has one: beyond it, a better teacher makes a worse student.
    """
    if basis.of_teacher is None or basis.fit is not None:
        return None
    low, high = math.log(basis.floor), math.log(4 * basis.floor)
    # Each grid looks closer about the best point of the one before.
    for _ in range(4):
        grid = np.linspace(low, high, 81)
        losses = [at(basis.of_teacher(math.exp(point)), n_params, n_tokens) for point in grid]
        best = int(np.argmin(losses))
        low, high = grid[max(best - 2, 0)], grid[min(best + 2, len(grid) - 1)]
    return math.exp(grid[best]), losses[best]
