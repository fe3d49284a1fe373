"""Where the trends of loss in data and in compute meet, and whether a teacher moves that point.

Compute that is spent best grows the model faster than its data. Along that frontier the loss follows L(C); but no model
can do better on so little data than L(D(C)). Where the two meet, one of them must break down: Kaplan et al. take it for
the point where text has nothing left to tell, and its loss for the entropy of text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from scaling.errors import SpecError
from scaling.laws.kaplan import KaplanC, KaplanD
from scaling.laws.presets import preset
from scaling.laws.published.preset import GPT2_VOCABULARY, PF_DAY
from scaling.laws.published.rules import Rule
from scaling.numbers import one_number
from scaling.predict.solve.units import check_target
from scaling.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Effect = Literal["real text", "bottleneck", "floor", "floor and effective data"]


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Where the trends meet.

    Attributes:
        effect: How the teacher's error enters; "real text" without a teacher.
        flops: C, training compute at small batches.
        n_params: Compute-optimal size there, without embeddings.
        n_tokens: Tokens that the training reads there.
        loss: Where both trends are, nats/token.
        moved: C by C of real text; 1 where the teacher does not move it.
    """

    effect: Effect
    flops: float
    n_params: float
    n_tokens: float
    loss: float
    moved: float


@dataclass(frozen=True, kw_only=True)
class Trends(Shown):
    """The meeting of real text, and those of a teacher's.

    Attributes:
        meetings: Real text first.
        teacher_loss: L_T on real text; None without a teacher.
        delta: L_T − L*, nats/token: what the teacher's text misses, taking L* for the entropy of text as the source
            does; 0 for a teacher as good.
        discount: c of D' = D e^(−c delta).
        answer: Whether a better teacher moves the point, in a sentence.
        source: Of the trends.
    """

    meetings: tuple[Meeting, ...]
    teacher_loss: float | None
    delta: float
    discount: float
    answer: str
    source: str

    def frame(self) -> pd.DataFrame:
        """One row a way in which the teacher's error may enter: where the trends meet then."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.meetings])

    def __str__(self) -> str:
        return self.answer


@dataclass(frozen=True, kw_only=True)
class _Kaplan:
    """The trends, with compute-optimal size and data as powers of compute."""

    by_data: KaplanD
    by_compute: KaplanC
    size: Rule
    tokens: Rule

    def data_loss(self, flops: float, worth: float = 1.0) -> float:
        """L(D(C)), of tokens that are worth a part of themselves."""
        return float(self.by_data.loss(d=worth * self.tokens.value(np.asarray(flops))))

    def compute_loss(self, flops: float) -> float:
        """L(C)."""
        return float(self.by_compute.loss(c=flops))

    def meeting(self, worth: float = 1.0) -> float:
        """C at which L(C) has come down to L(D(C)), by halving log C."""
        low, high = math.log(1e-6 * PF_DAY), math.log(1e18 * PF_DAY)
        for _ in range(200):
            middle = (low + high) / 2
            above = self.compute_loss(math.exp(middle)) > self.data_loss(math.exp(middle), worth)
            low, high = (middle, high) if above else (low, middle)
        return math.exp(low)


def trends(*, teacher_loss: float | str | None = None, discount: float | str = 1.0) -> Trends:
    """Where L(D) and L(C) meet, for real text and for text of a teacher of given loss.

    >>> trends(teacher_loss=2.0).frame()["effect"].tolist()
    ['real text', 'bottleneck', 'floor', 'floor and effective data']

    - Bottleneck: neither trend passes below the teacher's loss, so they meet where L(C) first reaches it.
    - Floor: both rise by delta, and meet at the same compute.
    - Floor and effective data: tokens also count for e^(−c delta), so data runs out earlier.

    Args:
        teacher_loss: L_T on real text, nats/token of the source's corpus; None for real text alone.
        discount: c, by which a nat of the teacher's error devalues its tokens; 1.0 as in this project's languages of
            known entropy.

    Raises:
        SpecError: a loss or discount that cannot be.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, section 6.3; the forms are those of `scaling.laws.teacher`.
    """
    teacher_loss = None if teacher_loss is None else one_number(teacher_loss, "--teacher-loss", example="2.0")
    discount = one_number(discount, "--discount", example="1.0")
    if discount < 0 or not math.isfinite(discount):
        raise SpecError(f"--discount: got {discount:g}, allowed is a number of 0 or more")
    law = _Kaplan(
        by_data=_law("kaplan-d", KaplanD),
        by_compute=_law("kaplan-c", KaplanC),
        size=_law("kaplan-size", Rule),
        tokens=_law("kaplan-tokens", Rule),
    )
    real = law.meeting()
    entropy = law.compute_loss(real)
    meetings = [_met(law, "real text", real, real, entropy)]
    delta = 0.0
    if teacher_loss is not None:
        check_target(teacher_loss, 0.0, vocab_size=GPT2_VOCABULARY, name="--teacher-loss")
        delta = max(0.0, teacher_loss - entropy)
        # A teacher at or below the meeting of real text stops nothing before it.
        stopped = float(law.by_compute.inverse("c", max(teacher_loss, entropy)))
        sooner = law.meeting(worth=math.exp(-discount * delta))
        meetings += [
            _met(law, "bottleneck", stopped, real, max(teacher_loss, entropy)),
            _met(law, "floor", real, real, entropy + delta),
            _met(law, "floor and effective data", sooner, real, law.compute_loss(sooner) + delta),
        ]
    return Trends(
        meetings=tuple(meetings),
        teacher_loss=teacher_loss,
        delta=delta,
        discount=discount,
        answer=_answer(teacher_loss, entropy),
        source=preset("kaplan-c").source,
    )


def _law(name: str, kind: type[T]) -> T:
    found = preset(name).law
    if not isinstance(found, kind):
        raise SpecError(f"{name} is {found!r}, not a {kind.__name__}")
    return found


def _met(law: _Kaplan, effect: Effect, flops: float, real: float, loss: float) -> Meeting:
    return Meeting(
        effect=effect,
        flops=flops,
        n_params=float(law.size.value(np.asarray(flops))),
        n_tokens=float(law.tokens.value(np.asarray(flops))),
        loss=loss,
        moved=flops / real,
    )


def _answer(teacher_loss: float | None, entropy: float) -> str:
    if teacher_loss is None:
        return "give a teacher's loss to see whether it moves the point"
    if teacher_loss <= entropy:
        return f"a teacher at or below {entropy:.2f} nats/token leaves the point where real text has it"
    return (
        "a better teacher moves the point to more compute, up to that of real text, where its error is a bottleneck or "
        "devalues its tokens; where its error only adds, the point stays and its loss falls"
    )
