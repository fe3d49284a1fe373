"""The exported file, read back and run by a phone engine, beside what was forecast before it was trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaling.accounting import STORED_FORMATS, Storage, TokenizerLayout, this_architecture
from scaling.compress.degradation import Degradation, degradation
from scaling.data.evaluation import evaluation_sets
from scaling.data.tasks.next_words import KeyboardUse
from scaling.errors import EngineError
from scaling.export.bundle.files import Bundle, load_tensors
from scaling.export.checks import compare, meets_target
from scaling.export.engine import engine_for
from scaling.export.findings import Check, InEngine
from scaling.export.keyboard import keyboard_of_bundle
from scaling.export.measure import ENGINE_TOKENS, measure
from scaling.predict.phones.devices import Device, device
from scaling.predict.phones.footprint import Footprint, footprint
from scaling.predict.phones.speed import Speed, decode_speed
from scaling.predict.quantization import QuantizationCost, Rounding, of_a_nat, rounding_cost
from scaling.predict.recommend.recommendation import Recommendation
from scaling.records import Outcome, RunStore
from scaling.spec import ModelSpec, RunSpec
from scaling.stop import check_stop, interruptible
from scaling.tables.units import NATS

HERE = "x86-core"
"""The device that verifies, where none is named."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was measured of an exported student. Losses are nats/token.

    Attributes:
        outcome: Of the student's own training, float weights.
        format: Name of the export format.
        read_back: Float student against the weights read back from the file, on the real held-out set.
        memory: Forecast bytes of this format in this engine.
        file_bytes: Size of the file.
        in_engine: What the engine did with it.
        damage: What storing the weights so was to add to the loss.
        speed: Forecast decoding speed; None where this engine was not measured on the device.
        device: Device of that forecast.
        checks: All comparisons, that with the target first.
        target_met: True if the loss of the file's weights is what was asked for, or what they save on a keyboard where
            keystrokes were asked for; None if the student has no loss.
    """

    outcome: Outcome
    format: str
    read_back: Degradation
    memory: Footprint
    file_bytes: int
    in_engine: InEngine
    damage: QuantizationCost
    speed: Speed | None
    device: str
    checks: tuple[Check, ...]
    target_met: bool | None

    @property
    def passed(self) -> bool:
        """No promise is broken."""
        return all(check.passed is not False for check in self.checks if check.kind == "promise")

    @property
    def succeeded(self) -> bool:
        """No promise is broken, and the target is not missed."""
        return self.passed and self.target_met is not False


@interruptible()
def verify(
    bundle: Bundle,
    store: RunStore,
    recommendation: Recommendation,
    *,
    loss_name: str = "loss",
    device_name: str = HERE,
    engine_name: str | None = None,
    engine_tokens: int = ENGINE_TOKENS,
    rounding: Rounding = rounding_cost,
) -> Verification:
    """Measure an exported student in every way that was forecast.

    Args:
        bundle: The export.
        store: Where its run and its held-out data lie.
        recommendation: What was forecast of it.
        loss_name: Field of Outcome that the fit forecasts.
        device_name: Device whose speed is forecast.
        engine_name: Engine that runs the file; by default the one whose memory was forecast.
        engine_tokens: Tokens of the engine's own loss; 0 for none.
        rounding: What was to be expected of a format that the recommendation is not about.

    Raises:
        ExportError: if the file cannot be read back, or holds weights that are not finite.
        RecordError: if its run is not in the store.
    """
    record = store.load(bundle.manifest.run_id)
    run, outcome, format = record.spec, record.outcome, bundle.manifest.format
    file = bundle.read()
    real = evaluation_sets(run, store).real
    check_stop()
    read_back = degradation(run.model, load_tensors(store, run), file.tensors, real)
    check_stop()
    # The cache is as long as the one whose memory was forecast.
    cache = recommendation.question.context or run.model.context
    try:
        engine = engine_for(format, engine_name)
        found = measure(engine, bundle, file, store, run.data.source, real, cache=cache, n_tokens=engine_tokens)
    except EngineError as error:
        found = InEngine(error=str(error))
    stored = bundle.format.stored
    speed = _forecast_speed(run.model, device(device_name), stored.storage, engine_name or stored.engine)
    damage = _forecast_damage(recommendation, run, bundle, rounding)
    loss = getattr(outcome, loss_name)
    stored_loss = None if loss is None else loss + _in_unit(recommendation.unit, outcome, read_back.increase)
    memory = _forecast_memory(bundle, recommendation, file.tokenizer, engine_name)
    saved = _saved(bundle, store, recommendation)
    checks = compare(
        recommendation,
        memory=memory,
        damage=damage,
        speed=speed,
        loss=loss,
        stored_loss=stored_loss,
        read_back=read_back,
        most_damage=bundle.format.most_damage,
        file_bytes=file.file_bytes,
        found=found,
        saved=saved,
    )
    return Verification(
        outcome=outcome,
        format=format,
        read_back=read_back,
        memory=memory,
        file_bytes=file.file_bytes,
        in_engine=found,
        damage=damage,
        speed=speed,
        device=device_name,
        checks=checks,
        target_met=meets_target(recommendation, stored_loss, saved),
    )


def _in_unit(unit: str, outcome: Outcome, nats: float) -> float:
    """So many nats/token of a student's own tokens, in the unit of the forecast."""
    return nats * of_a_nat(unit, [(outcome.loss, outcome.bits_per_byte)])


def _saved(bundle: Bundle, store: RunStore, recommendation: Recommendation) -> KeyboardUse | None:
    """What the file is worth on a keyboard, where that was asked for."""
    return None if recommendation.question.target_savings is None else keyboard_of_bundle(bundle, store).use


def _forecast_damage(
    recommendation: Recommendation, run: RunSpec, bundle: Bundle, rounding: Rounding
) -> QuantizationCost:
    """Recommendations of before, those of another format or in bits/byte do not say what this one costs, nats/token."""
    foretold = recommendation.choice.rounding
    same = bundle.manifest.format == recommendation.question.format and recommendation.unit == NATS
    said = same and foretold.source
    return foretold if said else rounding(run, bundle.format.stored.storage)


def _forecast_speed(model: ModelSpec, where: Device, storage: Storage, engine: str) -> Speed | None:
    """None where nobody measured this engine on the device: the constants of another say nothing of it."""
    return decode_speed(model, where, storage=storage, engine=engine) if where.knows(engine) else None


def _forecast_memory(
    bundle: Bundle, recommendation: Recommendation, tokenizer: TokenizerLayout, engine_name: str | None
) -> Footprint:
    """What was forecast for a phone, with what is copied on this machine's processor; of another format or engine than
    was asked for, what the same rule says of that."""
    question, format = recommendation.question, bundle.manifest.format
    here = footprint(
        bundle.manifest.model,
        context=question.context,
        tokenizer=tokenizer,
        format=format,
        engine=engine_name,
        architecture=this_architecture(),
    )
    if format == question.format and engine_name in (None, STORED_FORMATS[format].engine):
        return replace(recommendation.footprint, repacked_bytes=here.repacked_bytes)
    return here
