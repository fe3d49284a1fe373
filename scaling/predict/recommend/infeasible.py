"""Why no configuration answers a question, and what would: bytes, a phone, a faster one, a better teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scaling.errors import InfeasibleError
from scaling.numbers import size
from scaling.predict.phones.devices import devices
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import TINY_LOSS, Candidate
from scaling.tables.observations import DELTAS

if TYPE_CHECKING:
    from scaling.fit.prediction import Prediction
    from scaling.fit.result import Fit

OUT_OF_REACH = 0.05
"""P at unlimited size and text, below which a target is refused for good: it is the lower end of a 90 % interval."""


def why_none(
    fit: Fit, text: str, question: Question, floor: Prediction | None, candidates: Sequence[Candidate]
) -> InfeasibleError:
    """The error that says what is nearest, and what would do.

    Args:
        fit: That forecast the candidates.
        text: Which the candidates read, as the fit knows it.
        question: That none of them answers.
        floor: Loss of an infinite student on infinite such text, with its interval; None where the fit does not show
            it.
        candidates: All of them, smallest first.
    """
    target, chance = f"{question.target_loss:g} {fit.unit}", f"with probability {question.probability:g}"
    if question.target_savings is not None:
        target += f", of {question.target_savings:.1%} of keystrokes,"
    allowed = size(question.budget_bytes)
    if question.tokens_per_s is not None:
        allowed += f" at {question.tokens_per_s:g} tokens/s"
    nearest = min((c for c in candidates if c.fits(question)), key=lambda c: c.expected.value, default=None)
    meeting = next((c for c in candidates if c.meets(question)), None)
    needed = None if meeting is None else meeting.footprint.total_bytes
    least = candidates[0].footprint.total_bytes
    too_small = least > question.budget_bytes
    said = "no candidate fits at all" + (f", the smallest takes {size(least)}" if too_small else "")
    if nearest is not None:
        basis = "forecast" if nearest.measured is None else "measured"
        said = f"the best that fits is {basis} at {nearest.expected.value:.4f}{_saved(nearest, question)}"
        said += f" (P {nearest.probability:.2f})"
    known, at_most = _floor(candidates[0], floor), _at_most(fit, text, question, floor, candidates)
    teacher_loss = None if meeting is not None or nearest is None else sufficient_teacher(fit, text, question, nearest)
    better = "" if teacher_loss is None else f"; a teacher of loss {teacher_loss:.4f} would do for that size"
    # From what can never be to what a larger budget would allow.
    if at_most is not None and at_most < OUT_OF_REACH and meeting is None:
        message = (
            f"a loss of {target} is out of reach: {known}; within {allowed} {said}{better} — "
            "ask for more than the floor, or use a better teacher"
        )
    elif meeting is not None and meeting.speed is not None and meeting.footprint.total_bytes <= question.budget_bytes:
        message = (
            f"nothing within {allowed} meets {target} {chance}: {said}; width {meeting.model.width} would, at "
            f"{meeting.speed.low:.3g} tokens/s or more on {question.device} — ask for less, or name a faster device"
        )
    elif needed is not None:
        message = (
            f"nothing within {allowed} meets {target} {chance}: {said}; the target would need {size(needed)}"
            f"{_phone(needed, question)} — raise the memory or the target"
        )
    else:
        more = "tokens" if question.max_training_flops is None else f"FLOPs than {question.max_training_flops:.3g}"
        message = (
            f"no candidate meets {target} {chance}: {said}, {known}{_even_so(at_most, question)}{better} — raise the "
            f"{'memory and the target' if too_small else 'target'}, or offer more {more} or larger widths"
            f"{_with_less_doubt(at_most, question)}"
        )
    return InfeasibleError(
        message,
        best_loss=None if nearest is None else nearest.expected.value,
        best_probability=None if nearest is None else nearest.probability,
        needed_bytes=needed,
        needed_device=None if needed is None else phone_for(needed, question),
        floor=None if floor is None else floor.value,
        teacher_loss=teacher_loss,
    )


def _floor(one: Candidate, floor: Prediction | None) -> str:
    """What is known of the floor of the text that the candidates read."""
    if floor is None:
        return f"the floor of {one.reads} is not identified"
    doubt = "" if floor.low == floor.high else f" ({floor.level:.0%}: {floor.low:.4f} – {floor.high:.4f})"
    return f"the floor of {one.reads} is {floor.value:.4f}{doubt}"


def _at_most(
    fit: Fit, text: str, question: Question, floor: Prediction | None, candidates: Sequence[Candidate]
) -> float | None:
    """P that an infinite student of infinite text meets the target as it is stored; None without a floor."""
    if floor is None:
        return None
    aim = max(question.target_loss - candidates[0].rounding.nats, TINY_LOSS)
    # A published law has no doubt, and comes near its floor without reaching it.
    if floor.low == floor.high:
        return float(aim > floor.value)
    return float(fit.probability(aim, math.inf, math.inf, teacher=text, force=True))


def _even_so(at_most: float | None, question: Question) -> str:
    """That no size and no text is as sure as is asked, where the floor is known too badly for it."""
    if at_most is None or at_most >= question.probability:
        return ""
    return f", so that even unlimited size and text would meet it with P {at_most:.2f}"


def _with_less_doubt(at_most: float | None, question: Question) -> str:
    """What helps there beside larger students."""
    if at_most is None or at_most >= question.probability:
        return ""
    return f" and ask for a probability below {at_most:.2f}; larger runs would narrow the floor down"


def _saved(nearest: Candidate, question: Question) -> str:
    known = None if nearest.measured is None else nearest.measured.savings
    return "" if known is None or question.target_savings is None else f", saving {known:.1%} of keystrokes,"


def phone_for(needed_bytes: int, question: Question) -> str | None:
    """The class of phones of least memory whose share for one app holds so many bytes; None where none does."""
    classes = [one for one in devices().values() if one.is_class]
    enough = [one for one in classes if question.app_share * one.memory_bytes >= needed_bytes]
    return min(enough, key=lambda one: one.memory_bytes).name if enough else None


def _phone(needed_bytes: int, question: Question) -> str:
    name = phone_for(needed_bytes, question)
    if name is None:
        return f", more than {question.app_share:.0%} of any known phone"
    return f", which is within {question.app_share:.0%} of {devices()[name].label}"


def sufficient_teacher(fit: Fit, text: str, question: Question, nearest: Candidate) -> float | None:
    """Loss of the worst teacher whose text would let a configuration meet the target: of the same kind of errors as
    this one. None where no teacher would do, none is known, or the laws tell texts by something else than these."""
    known = fit.teachers.get(fit.label_of(text), {})
    deltas = {name: known[name] for name in DELTAS if known.get(name)}
    if not deltas or not fit.reads & set(DELTAS) or not fit.success:
        return None
    aim = max(question.target_loss - nearest.rounding.nats, TINY_LOSS)

    def suffices(share: float) -> bool:
        # Both parts of its divergence shrink alike.
        better: dict[str, Any] = {name: share * value for name, value in deltas.items()}
        chance = fit.probability(aim, nearest.n_params, nearest.n_tokens, force=True, **better)
        return chance >= question.probability

    if not suffices(0.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if suffices(middle) else (low, middle)
    return float(fit.floor().value) + low * sum(deltas.values())
