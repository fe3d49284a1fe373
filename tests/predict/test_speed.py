"""The speed forecast against hand arithmetic and published rates, and its calibration against known constants."""

from __future__ import annotations

import dataclasses

import pytest

from scaling.errors import ConfigError, SpecError
from scaling.predict.devices import Range, device, devices
from scaling.predict.speed import SpeedMeasurement, calibrate, decode_speed
from scaling.spec import ModelSpec

SMOLLM2 = ModelSpec(
    vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536, context=1024
)
MODELS = [
    ModelSpec(vocab_size=v, width=w, n_layers=n, context=128)
    for v, w, n in [(65, 64, 2), (65, 64, 16), (1024, 256, 4), (16384, 512, 8)]
]


def test_a_forecast_is_overhead_plus_bytes_over_bandwidth():
    chosen = dataclasses.replace(
        device("mid-8gb"),
        token_s=Range(1e-3, 1e-3, 1e-3),
        layer_s=Range(2e-3, 1e-3, 3e-3),
        bandwidth=Range(1e9, 1e9, 1e9),
    )
    model = ModelSpec(vocab_size=65, width=64, n_layers=2, hidden=192, context=40)
    count = (2 * 4 * 64 * 64 + 2 * 3 * 64 * 192 + 65 * 64) * 34 / 32 + 4 * 5 * 64
    speed = decode_speed(model, chosen, position=0)
    assert speed.tokens_per_s == pytest.approx(1 / (1e-3 + 2 * 2e-3 + count / 1e9))
    assert speed.low < speed.tokens_per_s < speed.high


def test_a_published_rate_lies_inside_the_range():
    """SmolLM2-135M int8 at one to two server threads: 65–82 tokens/s."""
    speed = decode_speed(SMOLLM2, device("x86-core"))
    assert speed.low < 65
    assert speed.high > 82


def test_a_separate_head_is_read_instead_of_the_table():
    tied = ModelSpec(vocab_size=1024, width=64, context=40)
    untied = tied.model_copy(update={"tied_embeddings": False})
    assert decode_speed(tied, device("mid-8gb")) == decode_speed(untied, device("mid-8gb"))


def test_calibration_recovers_the_constants_of_a_device():
    truth = dataclasses.replace(
        device("x86-core"),
        token_s=Range(1e-4, 1e-4, 1e-4),
        layer_s=Range(3e-5, 3e-5, 3e-5),
        bandwidth=Range(7e9, 7e9, 7e9),
    )
    measured = [SpeedMeasurement(model=m, tokens_per_s=decode_speed(m, truth).tokens_per_s) for m in MODELS]
    found = calibrate(device("budget-4gb"), measured)
    assert found.token_s.value == pytest.approx(1e-4, rel=1e-6)
    assert found.layer_s.value == pytest.approx(3e-5, rel=1e-6)
    assert found.bandwidth.value == pytest.approx(7e9, rel=1e-6)


def test_one_measurement_scales_a_device_and_is_met_exactly():
    found = calibrate(device("mid-8gb"), [SpeedMeasurement(model=SMOLLM2, tokens_per_s=50.0)])
    assert decode_speed(SMOLLM2, found).tokens_per_s == pytest.approx(50.0)
    original = device("mid-8gb")
    assert found.layer_s.value / found.token_s.value == pytest.approx(original.layer_s.value / original.token_s.value)


def test_every_device_names_the_source_of_each_figure_and_has_ordered_ranges():
    for entry in devices().values():
        for field in ("bandwidth", "layer_s", "token_s"):
            figure = getattr(entry, field)
            assert 0 < figure.low < figure.value < figure.high
            assert any(field in source or source.startswith("all:") for source in entry.sources), (entry.name, field)


def test_unknown_devices_and_impossible_rates_are_refused():
    with pytest.raises(ConfigError, match="unknown device 'phone' — allowed: budget-4gb"):
        device("phone")
    with pytest.raises(SpecError, match="tokens/s above 0"):
        calibrate(device("mid-8gb"), [])
