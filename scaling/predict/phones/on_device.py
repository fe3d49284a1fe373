"""A model on phones: its bytes line by line in several formats, its speed on each phone, its energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from scaling.accounting import (
    PHONE,
    EnergySettings,
    Familiar,
    TokenizerLayout,
    bpe_layout,
    count_parameters,
    symbol_layout,
    training_flops,
    training_kwh,
)
from scaling.predict.cost import ONE_GPU, Trainer
from scaling.predict.named.shapes import Shape
from scaling.predict.phones.breakdown import Breakdown, breakdown
from scaling.predict.phones.devices import Device, Range
from scaling.predict.phones.speed import Speed, decode_speed, joules_per_token, prompt_seconds
from scaling.predict.usual import TOKENS_PER_PARAMETER
from scaling.spec import ModelSpec

BATTERY_JOULES = 50e3
"""Of a fully charged iPhone; Liu et al. 2024 (MobileLLM), arXiv 2402.14905, section 1."""

SYMBOLS = 1024
"""A vocabulary up to this is one of bytes or symbols, a larger one of a BPE."""


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """One model in one format on one device.

    Attributes:
        device: Its name.
        label: For people.
        year: In which it was sold.
        format: How the weights are stored.
        engine: Whose speed is forecast.
        unit: Where it runs.
        total_bytes: What the model takes there.
        memory_share: That, of all the memory of the device.
        speed: Rate of writing.
        prompt_s: Seconds to read a whole context; None where nobody said how fast the engine reads.
        basis: How far to trust the speed.
    """

    device: str
    label: str
    year: int
    format: str
    engine: str
    unit: str
    total_bytes: int
    memory_share: float
    speed: Speed
    prompt_s: Range | None
    basis: str


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What writing and training take.

    Attributes:
        token_joules: Of one written token on a phone.
        tokens_per_charge: Tokens from one charge of ``BATTERY_JOULES``, and nothing else.
        training_tokens: D of the training.
        training_flops: Of it.
        training_kwh: Of it, the building's share included.
        co2e_kg: CO2 equivalents of that.
        familiar: The same in days of a household and in flights.
        source: Of the machine that trains.
    """

    token_joules: Range
    tokens_per_charge: float
    training_tokens: float
    training_flops: float
    training_kwh: float
    co2e_kg: float
    familiar: Familiar
    source: str


@dataclass(frozen=True, kw_only=True)
class OnPhones:
    """All that is known of a model on phones before it is there.

    Attributes:
        name: What was asked for.
        origin: Where its shape comes from.
        model: Its shape.
        n_params: Parameters without embeddings.
        n_params_total: All that are stored.
        context: Tokens of the cache.
        formats: Its bytes, one entry for each format.
        devices: Its speed, one entry for each device and format.
        energy: None where it was not asked for.
    """

    name: str
    origin: str
    model: ModelSpec
    n_params: int
    n_params_total: int
    context: int
    formats: tuple[Breakdown, ...]
    devices: tuple[OnDevice, ...]
    energy: Energy | None


def on_phones(
    shape: Shape,
    *,
    formats: Sequence[str],
    devices: Sequence[Device],
    tokenizer: TokenizerLayout | None = None,
    context: int | None = None,
    cache: str | None = None,
    engine: str | None = None,
    energy: Energy | None = None,
) -> OnPhones:
    """Bytes and speed of a model in several formats on several devices.

    Args:
        shape: The model.
        formats: ``f32``, ``f16``, ``q8_0``, ``int8``, ``q4_0``.
        devices: Where it runs; bytes are shown for the processor of the first.
        tokenizer: Stored in the file; by default placeholders of the usual size.
        context: Tokens of the cache; by default the model's.
        cache: Type of the cache.
        engine: Whose memory and speed; by default the one that the format is made for.
        energy: Told beside it.

    Raises:
        SpecError: for a format, engine or type of cache that nobody knows.
    """
    counts, length = count_parameters(shape.model), context or shape.model.context
    parts = partial(
        breakdown,
        shape.model,
        tokenizer=tokenizer or usual_layout(shape.model.vocab_size),
        context=context,
        cache=cache,
        engine=engine,
    )
    # Bytes depend on the processor, so each device has its own.
    shown = devices[0].architecture if devices else PHONE
    return OnPhones(
        name=shape.name,
        origin=shape.origin,
        model=shape.model,
        n_params=counts.n_params,
        n_params_total=counts.n_params_total,
        context=length,
        formats=tuple(parts(format=one, architecture=shown) for one in formats),
        devices=tuple(
            _on(device, parts(format=one, architecture=device.architecture), shape.model, length)
            for device in devices
            for one in formats
        ),
        energy=energy,
    )


def usual_layout(vocab_size: int) -> TokenizerLayout:
    """Placeholders for the tokens of a model whose tokenizer is not at hand."""
    return symbol_layout(vocab_size) if vocab_size <= SYMBOLS else bpe_layout(vocab_size)


def energy_of(
    model: ModelSpec, settings: EnergySettings, *, tokens: float | None = None, trainer: Trainer = ONE_GPU
) -> Energy:
    """Energy of a written token, and of a training on ``tokens``, by default `TOKENS_PER_PARAMETER` for each of all."""
    joules = joules_per_token(model)
    d = tokens or TOKENS_PER_PARAMETER * count_parameters(model).n_params_total
    flops = float(training_flops(model, 1)) * d
    # Power that the user names goes before that of the usual machine.
    watts = trainer.watts if settings.watts is None else settings.watts
    kwh = training_kwh(flops, flops_per_s=trainer.flops_per_s, watts=watts, pue=settings.pue)
    return Energy(
        token_joules=joules,
        tokens_per_charge=BATTERY_JOULES / joules.value,
        training_tokens=d,
        training_flops=flops,
        training_kwh=kwh,
        co2e_kg=settings.co2e_kg(kwh),
        familiar=Familiar.of(kwh, settings.co2e_kg(kwh)),
        source=trainer.source,
    )


def _on(device: Device, parts: Breakdown, model: ModelSpec, context: int) -> OnDevice:
    speed = device.speed_for(parts.engine)
    total = parts.footprint.total_bytes
    return OnDevice(
        device=device.name,
        label=device.label,
        year=device.year,
        format=parts.format,
        engine=speed.engine,
        unit=speed.unit,
        total_bytes=total,
        memory_share=total / device.memory_bytes,
        speed=decode_speed(
            model, device, storage=parts.storage, position=context // 2, engine=speed.engine, unit=speed.unit
        ),
        prompt_s=prompt_seconds(model, device, context, engine=speed.engine, unit=speed.unit),
        basis=speed.bandwidth.basis,
    )
