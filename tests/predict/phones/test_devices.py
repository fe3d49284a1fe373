"""The list of phones: every figure has a source, a range and a year, and forecasts what was published of it."""

from __future__ import annotations

import pytest

from scaling.accounting import STORED_FORMATS
from scaling.errors import ConfigError, SpecError
from scaling.predict.phones.devices import Device, device, devices

PHONES = [one for one in devices().values() if any(speed.rates for speed in one.speeds)]


def figures(entry: Device):
    for speed in entry.speeds:
        yield from (speed.bandwidth, speed.layer_s, speed.token_s)
        if speed.flops_per_s is not None:
            yield speed.flops_per_s


@pytest.mark.parametrize("entry", devices().values(), ids=lambda entry: entry.name)
def test_every_figure_has_a_source_and_an_ordered_range(entry):
    for figure in (entry.memory, *figures(entry)):
        assert 0 < figure.low <= figure.value <= figure.high
        assert len(figure.source) > 5
    for speed in entry.speeds:
        assert speed.bandwidth.low < speed.bandwidth.value < speed.bandwidth.high


@pytest.mark.parametrize("entry", PHONES, ids=lambda entry: entry.name)
def test_a_phone_is_forecast_to_do_what_was_published_of_it(entry):
    for speed in entry.speeds:
        for one in speed.rates:
            expected = speed.seconds(one.n_layers, one.n_bytes)
            # A range that is printed to a few digits need not hold its own end to the last bit.
            assert 1 / expected.high <= one.tokens_per_s.low * (1 + 1e-9)
            assert one.tokens_per_s.high * (1 - 1e-9) <= 1 / expected.low


def test_phones_of_a_decade_are_known_from_budget_to_flagship():
    assert len(PHONES) >= 12
    assert min(one.year for one in PHONES) < 2020 < 2025 < max(one.year for one in PHONES)
    assert {one.memory_bytes for one in PHONES} >= {4e9, 6e9, 8e9, 12e9}
    assert {speed.unit for one in PHONES for speed in one.speeds} == {"cpu", "gpu", "npu"}


def test_a_phone_of_one_rate_is_its_class_made_faster_or_slower_until_it_meets_the_rate():
    phone, like = device("iphone-13-pro"), device("mid-8gb")
    (speed,) = phone.speeds
    (rate,) = speed.rates
    assert 1 / speed.seconds(rate.n_layers, rate.n_bytes).value == pytest.approx(38)
    faster = speed.bandwidth.value / like.speeds[0].bandwidth.value
    assert like.speeds[0].layer_s.value / speed.layer_s.value == pytest.approx(faster)
    assert (speed.bandwidth.basis, like.speeds[0].layer_s.basis) == ("derived", "unverified")


def test_what_is_hearsay_stays_marked():
    assert device("redmi-note-12").speeds[0].bandwidth.basis == "unverified"


def test_devices_that_nobody_knows_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown device 'toaster' — allowed: budget-4gb"):
        device("toaster")
    with pytest.raises(ConfigError, match="unknown device 'pixel8a' — did you mean 'pixel-8a'"):
        device("pixel8a")


OWN = """
[p]
label = "a phone of one's own"
year = 2020
architecture = "arm64"
like = "mid-8gb"
memory = { value = 1e9, basis = "published", source = "its box" }
[[p.rate]]
engine = "llama_cpp"
unit = "cpu"
model = "a model"
n_layers = 2
n_bytes = 1e6
tokens_per_s = [5]
basis = "published"
source = "its owner"
"""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('like = "mid-8gb"', 'like = "mid-9gb"', "mid-9gb"),
        ('"arm64"', '"arm65"', "did you mean 'arm64'"),
        ("n_layers = 2", "", "n_layers"),
        ("value = 1e9", "value = 1e9, low = 2e9", "does not lie between"),
        ('"cpu"', '"cpus"', "did you mean 'cpu'"),
    ],
)
def test_a_block_of_ones_own_that_is_wrong_says_what(tmp_path, right, wrong, said):
    file = tmp_path / "d.toml"
    file.write_text(OWN)
    assert device(f"{file}:p").speeds[0].rates[0].tokens_per_s.value == 5
    file.write_text(OWN.replace(right, wrong))
    with pytest.raises(ConfigError, match=said):
        device(f"{file}:p")


def test_where_nobody_measured_an_engine_it_says_whose_speed_stands_there_and_what_to_do():
    phone = device("pixel-8a")
    assert phone.instead_of("litert_lm") is None
    said = phone.instead_of("onnx_runtime")
    assert said.startswith("nobody measured onnx_runtime on pixel-8a, this is llama_cpp (known: llama_cpp, litert_lm)")
    assert phone.speed_for("onnx_runtime") == phone.speeds[0]
    with pytest.raises(SpecError, match="nothing is known of onnx_runtime on pixel-8a .*scaling calibrate TABLE"):
        phone.speed("onnx_runtime")


def test_each_engine_that_runs_exported_files_was_measured_on_some_phone():
    measured = {speed.engine for one in PHONES for speed in one.speeds}
    assert {one.engine for one in STORED_FORMATS.values()} <= measured
