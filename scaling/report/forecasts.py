"""Forecasts, explanations and what they are solved for, as plain text: these commands start without a table library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scaling.laws.published.preset import PF_DAY
from scaling.numbers import number, size
from scaling.report.columns import pairs, table, wrapped
from scaling.report.numbers import loss

if TYPE_CHECKING:
    from scaling.predict.explain.comparison import Comparison, Row
    from scaling.predict.explain.explanation import EqualTraining, Explanation
    from scaling.predict.explain.teacher import Teacher
    from scaling.predict.explain.trends import Trends
    from scaling.predict.forecast import Forecast
    from scaling.predict.measurement import Measured
    from scaling.predict.solve.budget import Solution
    from scaling.predict.solve.steps import OptimalSteps
    from scaling.predict.solve.vocabulary import BestVocabulary, VocabularyChoice

BINDS = {
    "capacity": "capacity: a larger model helps most",
    "data": "data: more tokens help most",
    "precision": "precision: more bits help most",
    "teacher": "the teacher: better text helps most",
}

BOUNDS = "bottleneck, additive bound"
"""What the ends of a forecast are, where they are of no interval."""

SHOWN = 5e-5
"""Nats/token, from which on two losses are told apart as they are printed."""


def show_forecast(forecast: Forecast) -> None:
    """A loss, and where it comes from."""
    interval = ""
    if forecast.low is not None:
        interval = f"  [{forecast.low:.4f}, {forecast.high:.4f}] at {forecast.level:.0%}"
    # What was measured comes first; the law is then no more than a comment on it.
    rows = {} if forecast.measured is None else {"measured": _measurement(forecast.measured)}
    rows |= _parts(forecast, interval)
    if forecast.reach is not None and forecast.reach > 1.001:
        rows["beyond the data"] = f"{forecast.reach:.3g}×"
    for note in forecast.notes:
        rows["note"] = f"{rows['note']}; {note}" if "note" in rows else note
    what = "forecast" if forecast.measured is None else "measured, beside the forecast,"
    of_text = f" on {forecast.text}" if forecast.text else ""
    title = f"{what} for N = {number(forecast.n_params)}, D = {number(forecast.n_tokens)}{of_text}, {forecast.unit}"
    print(pairs(title, rows))


def _parts(forecast: Forecast, interval: str) -> dict[str, str]:
    """The loss, what it is made of, and the law."""
    return {
        "loss" if forecast.measured is None else "the law says": f"{loss(forecast.loss)}{interval}",
        **_terms(forecast),
        "tokens to within 0.05 of L(N, ∞)": _volume(forecast.tokens_to_asymptote),
        "cheapest training to this loss": (
            f"N = {number(forecast.optimal_n_params)}, D = {number(forecast.optimal_n_tokens)}"
            f"{' of this text' if forecast.teacher_term else ''}"
            if math.isfinite(forecast.optimal_n_params)
            else "not identified"
        ),
        "law": forecast.formula,
        "source": forecast.source,
        "basis": forecast.basis,
    }


def _terms(found: Forecast | Explanation) -> dict[str, str]:
    """The terms of a loss: of real text, and all that a teacher's text adds as one; what is nothing is not told."""
    of_real = " of real text" if found.teacher_term else ""
    extra = {
        "+ precision term": found.precision_term,
        "+ teacher term": found.teacher_term,
        "+ runs nearby": found.runs_term,
    }
    rows = {f"= floor{of_real}": found.floor, "+ size term": found.size_term, f"+ data term{of_real}": found.data_term}
    rows |= {name: term for name, term in extra.items() if abs(term) > 0}
    said = {"+ teacher term": ", what its tokens count less included"}
    return {name: f"{loss(term)}{said.get(name, '')}" for name, term in rows.items()}


def _measurement(found: Measured) -> str:
    """What was measured, and how sure it is."""
    if found.own:
        said = f" ± {loss(found.se)} (one run; ± is the standard error of its held-out estimate)"
        return f"{loss(found.loss)}{said if found.se else ' (one run, without a standard error)'}"
    return f"{loss(found.loss)} (mean of {found.n_runs} runs, which scatter by {found.scatter:.2%})"


def show_explanation(found: Explanation) -> None:
    """A loss, its terms, and what would change it."""
    bounds = "" if found.low is None or found.high is None else f"  [{found.low:.4f}, {found.high:.4f}]"
    kind = f" ({BOUNDS})" if found.level is None else f" at {found.level:.0%}"
    rows = {} if found.measured is None else {"measured": _measurement(found.measured)}
    rows["loss" if found.measured is None else "the law says"] = f"{loss(found.loss)}{bounds}{kind if bounds else ''}"
    rows |= _terms(found) | _of_teacher(found)
    rows |= _gains(found)
    if found.equal_of_bottleneck is not None and "bottleneck" in rows:
        rows["… by the bottleneck"] = _equal(found.equal_of_bottleneck)
    rows |= _beyond(found)
    rows |= {"law": found.formula, "source": found.source, "basis": found.basis} | _notes(found.notes)
    print(pairs(f"N = {number(found.n_params)}, D = {number(found.n_tokens)} on {found.text}, {found.unit}", rows))


def _gains(found: Explanation) -> dict[str, str]:
    """What more would bring, and what would be as good."""
    bits = {"bits/token": found.bits_per_token, "bits/byte": found.bits_per_byte}
    return {
        "in bits": ", ".join(f"{value:.4f} {unit}" for unit, value in bits.items() if value is not None),
        "binds": BINDS[found.binds] if max(_terms_of(found)) > 0 else "nothing: this is the floor of the law",
        "twice N": "N is unlimited" if math.isinf(found.n_params) else _gain(found.gain_of_n),
        "twice D": "D is unlimited" if math.isinf(found.n_tokens) else _gain(found.gain_of_d),
        "twice C": "N or D is unlimited" if found.gain_of_c is None else f"{_gain(found.gain_of_c)}, split best",
        "within 0.05 of L(N, ∞)": (
            "not a limit of this law"
            if math.isnan(found.tokens_to_asymptote)
            else f"{_volume(found.tokens_to_asymptote)} tokens"
        ),
        f"equal on {'real text' if found.teacher else found.text}": _equal(found.equal),
    }


def _terms_of(found: Explanation) -> tuple[float, ...]:
    return found.size_term, found.data_term, found.precision_term, found.teacher_term


def _gain(value: float) -> str:
    """What is taken off the loss, as the change of it: −0.0130."""
    return f"{-value:+.4f}".replace("-", "−")


def _volume(n_tokens: float) -> str:
    """Tokens that suffice; of a law that does not ask for data, any do."""
    return "any" if n_tokens == 0 else number(n_tokens)


def _of_teacher(found: Explanation) -> dict[str, str]:
    """What the teacher's text does."""
    who = found.teacher
    if who is None or found.additive_bound is None or found.bottleneck is None:
        return {}
    end = who.loss if who.limit is None else who.limit
    if found.floor - end > SHOWN:  # bounds are those of errors, and it has none
        return {"teacher": f"{_own_loss(who)}, {loss(found.floor - end)} below E: it teaches better than that"}
    entropy = who.loss - who.delta
    base = "E" if abs(entropy - found.floor) <= SHOWN else f"the exact entropy {loss(entropy)}"
    rows = {
        "teacher": f"{_own_loss(who)}; delta {loss(who.delta)} above {base}",
        "additive bound": f"{loss(found.additive_bound)}: its errors are everywhere, and all are learned",
        "bottleneck": f"{loss(found.bottleneck)}: it lacks what is rare, which this student hardly reaches",
    }
    if found.best_teacher_loss is not None and found.best_teacher_gives is not None:
        best, gives = loss(found.best_teacher_loss), loss(found.best_teacher_gives)
        rows["best teacher"] = f"one of loss {best} would give {gives}"
    return rows


def _own_loss(who: Teacher) -> str:
    """A teacher's loss on real text, and where a law ends the students of its text, each by its own name."""
    ends = "" if who.limit is None else f"students of unlimited text of it end at {loss(who.limit)} by this law"
    if who.loss_from == "limit":
        return f"{who.label}: its loss on real text is not in the table; {ends}"
    measured = " as measured" if who.loss_from == "measured" else ""
    return f"{who.label}: {loss(who.loss)} on real text{measured}{f'; {ends}' if ends else ''}"


def _equal(found: EqualTraining) -> str:
    """A compute-optimal training, with steps where they are known."""
    if math.isnan(found.n_params):
        return "this law knows one of size and data alone"
    if not math.isfinite(found.n_params):
        return "no training reaches it"
    text = f"N = {number(found.n_params)}, D = {number(found.n_tokens)}, {found.flops:.3g} FLOPs, compute-optimal"
    if found.steps is None or found.critical_batch_tokens is None:
        return text
    return f"{text}; {number(found.steps)} steps at its critical batch, {number(found.critical_batch_tokens)} tokens"


def _beyond(found: Explanation) -> dict[str, str]:
    """How far outside the runs behind the law, and what error that far out is expected."""
    far = {name: factor for name, factor in found.reach.items() if factor > 1.001}
    rows = {}
    if far:
        rows["beyond the runs"] = ", ".join(
            f"{name.upper()} {factor:.3g}× (e^{math.log(factor):.2g})" for name, factor in far.items()
        )
    if found.error is not None:
        rows["expected error"] = f"{found.error:.2%}, from forecasts of runs this far out"
    return rows


def show_comparison(found: Comparison) -> None:
    """One line a model, law by law."""
    tokens = "" if found.tokens is None else f", D = {number(found.tokens)}"
    text = f"text of {found.teacher}" if found.teacher else found.text
    print(f"loss in {found.unit} of students of {text}{tokens}")
    header = ["law", "model", "N", "D", found.text]
    with_range = any(row.low != row.high for row in found.rows)
    with_best = any(row.best_teacher_gives is not None for row in found.rows)
    if found.teacher or with_range:
        header.append("asked")
    if with_best:
        header.append("best teacher")
    header.append("binds")
    if found.as_good_as:
        header += [f"as good as {found.as_good_as}?", "margin"]
    rows = [_cells(row, with_asked="asked" in header, with_best=with_best) for row in found.rows]
    print(table(header, rows, left=2))
    _comparison_notes(found, with_range=with_range)


def _comparison_notes(found: Comparison, *, with_range: bool) -> None:
    """What a reader of the table must know."""
    for law, value in found.teacher_losses.items():
        print(f"{law}: the teacher's own loss on real text is {value:.3f}")
    for law, value in found.teacher_limits.items():
        print(f"{law}: its law ends students of unlimited text of this teacher at {value:.3f}")
    if found.level is None and with_range:
        print("asked: from the bottleneck (so small a student hardly meets what a teacher lacks) to the additive bound")
    elif with_range:
        print(f"asked: interval at {found.level:.0%}")
    far = max((row.reach for row in found.rows if row.reach is not None), default=1.0)
    if far > 1.001:
        print(f"up to {far:.3g}× beyond the runs behind {'the laws' if found.level is None else 'the fit'}")
    for note in found.notes:
        print(wrapped(f"note: {note}"))


def _cells(row: Row, *, with_asked: bool, with_best: bool) -> list[str]:
    cells = [row.law, row.label, number(row.n_params), number(row.n_tokens), f"{row.real:.3f}"]
    if with_asked:
        cells.append(f"{row.loss:.3f}" if row.low == row.high else f"{row.low:.3f} – {row.high:.3f}")
    if with_best:
        cells.append("" if row.best_teacher_gives is None else f"{row.best_teacher_gives:.3f}")
    cells.append(row.binds)
    if row.verdict is not None:
        chance = row.verdict.probability
        low, high = row.verdict.margin_low, row.verdict.margin_high
        margin = f"{low:+.3f}" if low == high else f"{low:+.3f} to {high:+.3f}"
        cells += [row.verdict.answer if chance is None else f"{row.verdict.answer}, P {chance:.2f}", margin]
    return cells


def show_solution(found: Solution) -> None:
    """One line a training."""
    print(f"{found.question} on {found.text}, {found.unit}; this text ends at {loss(found.floor)}")
    header = ["answer", "N", "D", "D/N", "loss", "training FLOPs"]
    # The ends of a fit are those of an interval, or of bounds where it knows no more of the teacher than a loss.
    with_ends = any(one.low is not None for one in found.trainings)
    if with_ends:
        header.insert(5, BOUNDS if found.level is None else f"{found.level:.0%} interval")
    if found.inference_tokens:
        header.append(f"with {number(found.inference_tokens)} tokens of use")
    rows = []
    for one in found.trainings:
        row = [one.what, number(one.n_params), number(one.n_tokens), number(one.n_tokens / one.n_params)]
        row += [loss(one.loss)]
        if with_ends:
            row.append("" if one.low is None else f"{one.low:.4f} – {one.high:.4f}")
        row.append("∞" if math.isinf(one.flops) else f"{one.flops:.3g}")
        if found.inference_tokens:
            row.append("∞" if math.isinf(one.lifetime_flops) else f"{one.lifetime_flops:.3g}")
        rows.append(row)
    print(table(header, rows))
    print(pairs("", {"law": found.formula, "source": found.source} | _notes(found.notes)).lstrip("\n"))


def show_steps(found: OptimalSteps) -> None:
    """The best training of a compute, in steps."""
    rows = {
        "N": number(found.n_params),
        "fewest steps S_min": number(found.s_min),
        "critical batch": f"{number(found.critical_batch_tokens)} tokens",
        "steps at that batch": f"{number(found.steps)}, {number(found.n_tokens)} tokens, twice the compute",
        "loss": loss(found.loss),
    }
    print(pairs(f"{found.flops:.3g} FLOPs at small batches ({found.flops / PF_DAY:.3g} PF-days)", rows))


def show_trends(found: Trends) -> None:
    """Where the trends meet, for real text and a teacher's."""
    print("where the trends of L(D) and L(C) meet: beyond it, one of them breaks down")
    rows = [
        [
            one.effect,
            f"{one.flops / PF_DAY:.3g}",
            number(one.n_params),
            number(one.n_tokens),
            f"{one.loss:.3f}",
            f"{one.moved:.3g}×",
        ]
        for one in found.meetings
    ]
    print(table(["text", "C, PF-days", "N", "D", "loss", "C against real text"], rows))
    if found.teacher_loss is not None:
        worth = math.exp(-found.discount * found.delta)
        print(f"teacher: loss {found.teacher_loss:.4g}, delta {found.delta:.3f}; a token is worth {worth:.3g}")
    print(wrapped(found.answer))
    print(f"source: {found.source}")


def show_vocabulary(found: BestVocabulary) -> None:
    """The best vocabulary beside usual ones."""
    print(
        f"vocabulary for {size(found.budget_bytes)} of weights at {found.bytes_per_param:.4g} bytes a parameter, "
        f"trained on {number(found.characters)} characters"
    )
    chosen = [("best", found.best), *(("", other) for other in found.others)]
    rows = [[name, *_vocabulary(one, found.best)] for name, one in chosen]
    print(table(["", "vocabulary", "width", "N without table", "D", "table", "loss against best"], rows))
    print(f"within 0.005 nats/token of the best: {found.flat[0]:,} to {found.flat[1]:,}")
    print(pairs("", {"source": found.source} | _notes(found.notes)).lstrip("\n"))


def _vocabulary(one: VocabularyChoice, best: VocabularyChoice) -> list[str]:
    sizes = [str(one.vocab_size), str(one.width), number(one.n_params), number(one.n_tokens)]
    return [*sizes, f"{one.table_share:.0%}", f"{one.loss - best.loss:+.4f}"]


def _notes(notes: tuple[str, ...]) -> dict[str, str]:
    return {"note": "; ".join(notes)} if notes else {}
