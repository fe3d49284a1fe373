"""Forecast beside measured, one comparison at a time, and which of them an export must pass to be used."""

from __future__ import annotations

from scaling.compress.degradation import Degradation
from scaling.data.tasks.next_words import KeyboardUse
from scaling.export.engine import EngineRun
from scaling.export.findings import Check, Greedy, InEngine
from scaling.predict.phones.devices import MEASURE_IT
from scaling.predict.phones.footprint import Footprint
from scaling.predict.phones.speed import Speed
from scaling.predict.quantization import QuantizationCost
from scaling.predict.recommend.recommendation import Recommendation

MAX_FILE_ERROR = 0.01
"""Share by which a file may miss its forecast; it is exact unless the tokenizer changed in between."""

MAX_ENGINE_COST = 0.02
"""nats/token by which an engine may differ from JAX on the same weights, over a few hundred tokens. Activations in
int8 cost up to 0.003; a wrong rotation or a wrong tokenizer costs more than 1."""

NEAR_TIE = 0.05
"""nats; int8 activations may decide otherwise between two tokens that are this close."""

MAX_MEMORY_ERROR = 0.10
"""Share by which the peak memory may exceed its forecast."""

NOT_FORECAST = "not forecast"
"""Of an engine that nobody measured on the device: the constants of another would be a guess."""

MIB = 2**20


def compare(
    recommendation: Recommendation,
    *,
    memory: Footprint,
    damage: QuantizationCost,
    speed: Speed | None,
    loss: float | None,
    stored_loss: float | None,
    read_back: Degradation,
    most_damage: float,
    file_bytes: int,
    found: InEngine,
    saved: KeyboardUse | None = None,
) -> tuple[Check, ...]:
    """All comparisons of an exported student with what was forecast of it.

    Args:
        recommendation: The forecast.
        memory: Forecast bytes of this format in this engine.
        damage: What storing the weights so was to add to the loss.
        speed: Forecast of the decoding speed; None where nothing is known of this engine there.
        loss: Of the trained student, in the unit of the forecast.
        stored_loss: Of the weights as the file has them, which are what is asked for, likewise.
        read_back: Float student against the file's weights.
        most_damage: nats/token that the file's format may cost.
        file_bytes: Size of the file.
        found: What the engine did.
        saved: Of the file's weights on a keyboard, where the target is in keystrokes.
    """
    checks = [
        *([] if saved is None else [_savings(recommendation, saved)]),
        _target(recommendation, stored_loss),
        _loss(recommendation, loss),
        _file(memory.weights_bytes, file_bytes),
        _read_back(read_back, most_damage),
        _damage(damage, read_back),
    ]
    if found.error is not None:
        checks.append(_engine(found.error, refused=found.refused))
    # Without a run of the engine nothing below was measured; what it could not do stands in the check above.
    if found.run is None or found.greedy is None:
        return tuple(checks)
    checks.append(_greedy(found.greedy, ended=found.run.ended))
    if found.texts_equal is not None:
        checks.append(_tokenizer(*found.texts_equal))
    if found.cost is not None:
        checks.append(_engine_loss(found.cost))
    checks.append(_memory(memory.total_bytes, found.run))
    checks.append(_speed(speed, found.run))
    return tuple(checks)


def meets_target(recommendation: Recommendation, loss: float | None, saved: KeyboardUse | None = None) -> bool | None:
    """True if a file's weights measure what was asked for, keystrokes or a loss; None if nothing was measured."""
    asked = recommendation.question.target_savings
    if asked is not None and saved is not None:
        return saved.savings >= asked
    return None if loss is None else loss <= recommendation.question.target_loss


def _savings(recommendation: Recommendation, saved: KeyboardUse) -> Check:
    forecast = recommendation.savings
    said = "" if forecast is None else f", {forecast.value:.1%} ({forecast.low:.1%} – {forecast.high:.1%}) forecast"
    return Check(
        name="keystrokes saved",
        kind="target",
        expected=f"≥ {recommendation.question.target_savings:.1%} asked{said}",
        measured=f"{saved.savings:.1%} ± {saved.savings_se:.1%}",
        passed=meets_target(recommendation, None, saved),
        note=f"{saved.n_words} words; next word guessed {saved.top1:.1%}, among three {saved.top3:.1%}",
    )


def _target(recommendation: Recommendation, loss: float | None) -> Check:
    target = recommendation.question.target_loss
    return Check(
        name="target",
        kind="target",
        expected=f"≤ {target:g} asked, {recommendation.prediction.value:.4f} forecast",
        measured="none" if loss is None else f"{loss:.4f}",
        passed=meets_target(recommendation, loss),
        note=f"P {recommendation.probability:.2f}" + ("" if loss is None else f", {_by_how_much(loss - target)}"),
    )


def _by_how_much(excess: float) -> str:
    return f"{'missed' if excess > 0 else 'met'} by {abs(excess):.4f}"


def _loss(recommendation: Recommendation, loss: float | None) -> Check:
    forecast, measured = recommendation.prediction, recommendation.choice.measured
    # Of a run that the fit was made of, the interval tests the fit and no forecast.
    known = ", a run of the fit" if measured is not None and measured.own else ""
    return Check(
        name="loss of the student",
        kind="forecast",
        expected=f"{forecast.value:.4f} ({forecast.low:.4f} – {forecast.high:.4f})",
        measured="none" if loss is None else f"{loss:.4f}",
        passed=None if loss is None else forecast.low <= loss <= forecast.high,
        note=f"{forecast.level:.0%} interval{known}",
    )


def _file(forecast: int, measured: int) -> Check:
    error = measured / forecast - 1
    return Check(
        name="file size",
        kind="promise",
        expected=f"{forecast:,} bytes",
        measured=f"{measured:,} bytes",
        passed=abs(error) <= MAX_FILE_ERROR,
        note="exact" if error == 0 else f"{error:+.2%}",
    )


def _read_back(cost: Degradation, most_damage: float) -> Check:
    return Check(
        name="loss read back from the file",
        kind="promise",
        expected=f"{cost.before:.4f} + {most_damage:g} at most",
        measured=f"{cost.after:.4f}",
        passed=cost.increase <= most_damage,
        note=f"{cost.increase:+.5f} ± {cost.increase_se:.5f}",
    )


def _damage(forecast: QuantizationCost, cost: Degradation) -> Check:
    return Check(
        name="damage of rounding",
        kind="forecast",
        expected=f"{forecast.nats:+.4f} ({forecast.low:+.4f} – {forecast.high:+.4f})",
        measured=f"{cost.increase:+.5f}",
        passed=forecast.holds(cost.increase, cost.increase_se),
        note=forecast.source,
    )


def _engine(error: str, *, refused: bool) -> Check:
    """A file that is refused breaks the promise; an engine that is absent or crashes says nothing about the file."""
    return Check(
        name="engine",
        kind="promise",
        expected="runs the file",
        measured="refused" if refused else "not run",
        passed=False if refused else None,
        note=error.splitlines()[0],
    )


def _greedy(greedy: Greedy, *, ended: bool) -> Check:
    note = f"JAX prefers another token by up to {greedy.behind:.3f} nats" if greedy.behind > 0 else ""
    note = note or ("the document ended" if ended else "")
    return Check(
        name="engine's greedy text",
        kind="promise",
        expected=f"as JAX, {greedy.n_tokens} tokens",
        measured=f"{greedy.n_equal} equal",
        passed=greedy.behind <= NEAR_TIE,
        note=note,
    )


def _tokenizer(equal: int, tried: int) -> Check:
    return Check(
        name="engine's tokenizer",
        kind="promise",
        expected=f"as trained, {tried} texts",
        measured=f"{equal} equal",
        passed=equal == tried,
    )


def _engine_loss(cost: Degradation) -> Check:
    return Check(
        name="loss in the engine",
        kind="promise",
        expected=f"{cost.before:.4f} ± {MAX_ENGINE_COST:g}",
        measured=f"{cost.after:.4f}",
        passed=abs(cost.increase) <= MAX_ENGINE_COST,
        note=f"{cost.increase:+.5f} on {cost.n_sequences} sequences",
    )


def _memory(forecast: int, run: EngineRun) -> Check:
    """A phone may take back what is mapped of the file, and not what the engine allocated."""
    parts = f"{run.allocated_bytes / MIB:.1f} MiB allocated, {run.mapped_bytes / MIB:.1f} of the file"
    return Check(
        name="peak memory",
        kind="forecast",
        expected=f"{forecast / MIB:.1f} MiB",
        measured=f"{run.peak_bytes / MIB:.1f} MiB",
        passed=run.peak_bytes <= forecast * (1 + MAX_MEMORY_ERROR),
        note=f"{run.peak_bytes / forecast - 1:+.1%}; {parts}",
    )


def _speed(speed: Speed | None, run: EngineRun) -> Check:
    """A rate that was measured beside other programs says little of the engine: no miss is made of it."""
    rate, range = run.tokens_per_s, run.tokens_per_s_range
    measured = "none" if rate is None or range is None else f"{rate:,.0f} (best {range[1]:,.0f})"
    note = f"{run.threads} thread{'s' if run.threads > 1 else ''}, load {run.load_average:.1f}"
    note += "" if speed is not None else f"; {MEASURE_IT}"
    passed = None if rate is None or speed is None else speed.low <= rate <= speed.high
    if speed is not None and rate is not None and rate < speed.low and run.machine_busy:
        passed, note = None, f"machine busy: {note}; measure again when it is idle"
    return Check(
        name="tokens/s",
        kind="forecast",
        expected=NOT_FORECAST if speed is None else f"{speed.tokens_per_s:,.0f} ({speed.low:,.0f} – {speed.high:,.0f})",
        measured=measured,
        passed=passed,
        note=note,
    )
