"""A recommendation as a person reads it; plain text, for the answer is there at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scaling.accounting import STORED_FORMATS
from scaling.numbers import duration, number, size
from scaling.predict.phones.devices import device
from scaling.report.columns import table, wrapped
from scaling.report.numbers import energy, loss, rate

if TYPE_CHECKING:
    from scaling.predict.cost import TrainingCost
    from scaling.predict.recommend.candidates import Candidate
    from scaling.predict.recommend.front import FrontPoint
    from scaling.predict.recommend.recommendation import Recommendation


def show_recommendation(found: Recommendation) -> None:
    """The chosen configuration, what it costs, its runners-up, and what else can be had."""
    for line in _answer(found):
        print(line)
    # Of several vocabularies each candidate names its own, even where all that are listed have one.
    of_listed = {one.model.vocab_size for one in (found.choice, *found.runners_up)}
    named = len(of_listed | {point.vocab_size for point in found.front if point.vocab_size}) > 1
    interval_at = f"{found.prediction.level:.0%} interval"
    header = ("", *(["V"] * named), "width", "N", "loss", interval_at, "P(≤ target)", "memory", "basis")
    listed = [("choice", found.choice), *(("next", one) for one in found.runners_up)]
    rows = [[what, *([f"{one.model.vocab_size:,}"] * named), *_candidate(one)] for what, one in listed]
    print(table(header, rows))
    for line in (*_of_measured(found), *_costs(found), *(f"note: {note}" for note in found.notes)):
        print(wrapped(f"  {line}"))


def _answer(found: Recommendation) -> Iterator[str]:
    """Which student, and what was asked."""
    choice, model, question = found.choice, found.choice.model, found.question
    shared = "" if model.n_kv_heads == model.n_heads else f" ({model.n_kv_heads} of keys)"
    shape = f"width {model.width}, {model.n_layers} layers, {model.n_heads} heads{shared}"
    named = "" if choice.run_id is None else f"  (run {choice.run_id})"
    yield f"recommended: {shape}, trained on {number(choice.n_tokens)} tokens{named}"
    asked = f"≤ {question.target_loss:g} {found.unit} with P ≥ {question.probability:g}"
    asked += f" within {size(question.budget_bytes)}"
    floor = "not identified" if found.floor is None else loss(found.floor)
    if found.floor_low is not None and found.floor_high is not None and found.floor_low < found.floor_high:
        floor += f" ({question.level:.0%}: {loss(found.floor_low)} – {loss(found.floor_high)})"
    yield f"  asked for {asked}; the floor of {choice.reads} is {floor}"
    if question.target_basis:
        yield f"  the target: {question.target_basis}"
    if (saved := found.savings) is not None:
        typed = choice.measured is not None and choice.measured.savings is not None
        said = ("it saved", "as it has typed") if typed else ("it is to save", "as its loss says")
        yield f"  {said[0]} {saved.value:.1%} of keystrokes ({saved.low:.1%} – {saved.high:.1%}), {said[1]}"


def _of_measured(found: Recommendation) -> Iterator[str]:
    """What P is of, and what the interval, where a run that is shown was measured too near the target to be sure."""
    shown = [one for one in (found.choice, *found.runners_up) if one.measured is not None and one.measured.own]
    if not any(one.expected.low <= found.question.target_loss <= one.expected.high for one in shown):
        return
    typed = found.question.target_savings is not None and any(
        one.measured is not None and one.measured.savings is not None for one in shown
    )
    judged = "the keystrokes that it saved as it typed" if typed else "its loss on the held-out set that was measured"
    yield (
        f"P of a measured run is of {judged}, which is known: 1 or 0. Its interval is of its loss on all text of this "
        "kind, by the standard error of that set's: there it may miss the target"
    )


def _costs(found: Recommendation) -> Iterator[str]:
    """What the choice costs, why it is not smaller, and what else can be had."""
    choice, question = found.choice, found.question
    yield f"memory: {footprint_sum(choice)}"
    if (added := choice.rounding).source:
        seen = f"{added.low:.4f} to {added.high:.4f}; {added.source}"
        yield f"of its loss rounding the weights adds {added.nats:.4f} ({seen})"
    if (speed := choice.speed) is not None:
        usual, low, high = (rate(one) for one in (speed.tokens_per_s, speed.low, speed.high))
        engine = f", {speed.engine}" if speed.engine else ""
        yield f"speed on {question.device}{engine}: {usual} tokens/s ({low} – {high})"
        if other := device(question.device or "").instead_of(STORED_FORMATS[question.format].engine):
            yield f"  {other}"
    if (cost := found.cost) is not None:
        yield f"training: {cost.flops:.3g} FLOPs, {hours(cost.hours)}, {energy(cost.kwh)} ({cost.source})"
        yield from _of_teacher(cost)
        if (most := question.max_training_flops) is not None:
            paid = cost.flops + (cost.teacher_flops or 0)
            yield f"of {most:.3g} FLOPs that were allowed: {paid:.3g}, its teacher's with them"
    yield f"{_BINDING[found.binding]}{f'; offered were {found.shapes}' if found.shapes else ''}"
    if len(found.front) > 1:
        yield f"bytes against loss: {front_line(found.front)}"


def _of_teacher(cost: TrainingCost) -> Iterator[str]:
    """What the teacher computes for the student's text, at the rate of the training; nothing of real text."""
    if cost.teacher_flops is None:
        yield "its teacher: of a size that is not known here; what it writes is not counted"
    elif share := cost.teacher_flops / cost.flops:
        told = f"{cost.teacher_flops:.3g} FLOPs for the text, written once, and what the recipe asks"
        time = f"{hours(share * cost.hours)}, {energy(share * cost.kwh)}"
        yield f"its teacher: {told}, {share:.2g} × the training: {time}"


def front_line(front: Sequence[FrontPoint], most: int = 6) -> str:
    """The front in one line: its ends and some points between, evenly; of several vocabularies each has its own."""
    picked = sorted({round(i * (len(front) - 1) / (most - 1)) for i in range(most)}) if len(front) > most else None
    points = front if picked is None else [front[i] for i in picked]
    named = len({point.vocab_size for point in front}) > 1
    of_vocab = [f" (V {point.vocab_size:,})" if named and point.vocab_size else "" for point in points]
    return ", ".join(
        f"{size(point.total_bytes)} {point.loss:.3f}{vocab}" for point, vocab in zip(points, of_vocab, strict=True)
    )


def hours(value: float) -> str:
    """A time of training as a person says it."""
    return duration(3600 * value) if value < 2 else f"{value:,.0f} h"


_BINDING = {
    "target": "no smaller candidate meets the target that surely",
    "speed": "a smaller candidate meets the target, but is too slow",
    "smallest": "no smaller candidate was offered",
}


def _candidate(candidate: Candidate) -> list[str]:
    return [
        str(candidate.model.width),
        number(candidate.n_params),
        f"{candidate.expected.value:.4f}",
        interval(candidate),
        "—" if _is_certain(candidate) else f"{candidate.probability:.2f}",
        size(candidate.footprint.total_bytes),
        "measured" if candidate.measured is not None else candidate.prediction.basis,
    ]


def interval(candidate: Candidate) -> str:
    """Of the loss that decides; a law without runs has none."""
    expected = candidate.expected
    return "—" if _is_certain(candidate) else f"{expected.low:.4f} – {expected.high:.4f}"


def _is_certain(candidate: Candidate) -> bool:
    """Whether its loss comes without doubt, as a published law gives it: then no chance is told either."""
    return candidate.expected.low == candidate.expected.high


def footprint_sum(candidate: Candidate) -> str:
    """The parts of a memory footprint."""
    parts = candidate.footprint
    repacked = f" + repacked at load {size(parts.repacked_bytes)}" if parts.repacked_bytes else ""
    return (
        f"weights {size(parts.weights_bytes)}{repacked} + cache {size(parts.kv_cache_bytes)} + activations "
        f"{size(parts.compute_bytes)} + engine {size(parts.engine_bytes)}"
    )
