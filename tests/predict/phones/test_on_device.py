"""A model on several phones: their own processors, engines and memory; and its energy."""

from __future__ import annotations

import pytest

from scaling.accounting import EnergySettings, training_flops
from scaling.predict.cost import Trainer
from scaling.predict.named.shapes import Shape, shape_of_size
from scaling.predict.phones.devices import device
from scaling.predict.phones.on_device import energy_of, on_phones
from scaling.predict.phones.speed import decode_speed

SMALL = Shape(model=shape_of_size(1e8), name="100M", origin="a test")


def test_each_phone_has_every_format_with_its_own_speed_and_share_of_memory():
    phones = [device(name) for name in ("redmi-note-12", "galaxy-s26", "x86-core")]
    found = on_phones(SMALL, formats=("q8_0", "q4_0"), devices=phones, context=512)
    assert [(one.device, one.format) for one in found.devices] == [
        (phone.name, format) for phone in phones for format in ("q8_0", "q4_0")
    ]
    for one in found.devices:
        assert one.memory_share == one.total_bytes / device(one.device).memory_bytes
    budget, flagship, server = found.devices[::2]
    assert budget.speed.tokens_per_s < flagship.speed.tokens_per_s
    assert flagship.speed == decode_speed(SMALL.model, phones[1], position=256)
    assert server.total_bytes < budget.total_bytes == flagship.total_bytes


def test_the_engine_that_is_counted_is_the_one_that_is_timed_where_its_speed_is_known():
    found = on_phones(SMALL, formats=("q8_0", "int8"), devices=[device("pixel-8a"), device("iphone-15")])
    assert [one.engine for one in found.devices] == ["llama_cpp", "litert_lm", "cactus", "cactus"]


def test_energy_follows_the_size_and_the_machine_that_trains():
    trainer = Trainer(flops_per_s=1e14, watts=500.0, source="a test")
    settings = EnergySettings(pue=1.2, kg_per_kwh=0.5)
    found = energy_of(SMALL.model, settings, tokens=1e9, trainer=trainer)
    assert found.training_flops == pytest.approx(training_flops(SMALL.model, 10**9))
    assert found.training_kwh == pytest.approx(found.training_flops / 1e14 * 500 * 1.2 / 3.6e6)
    assert found.co2e_kg == pytest.approx(0.5 * found.training_kwh)
    assert energy_of(SMALL.model, settings).training_tokens == pytest.approx(2e9, rel=0.01)
    larger = energy_of(shape_of_size(1e9), settings)
    assert larger.token_joules.value == pytest.approx(0.1, rel=0.01)
    assert larger.tokens_per_charge < found.tokens_per_charge
