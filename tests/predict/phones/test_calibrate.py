"""A user's own measurements become a device: constants recovered, threads chosen, stalls left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling.errors import SpecError
from scaling.predict.phones.calibrate import UNSEEN, MeasuredRate, calibrate, device_toml
from scaling.predict.phones.devices import EngineSpeed, Range, device
from scaling.report.phones import show_calibration

SIZES = [(2, 3e5), (16, 1e6), (4, 5e7), (30, 1.4e8), (8, 1.2e8)]


def truth() -> EngineSpeed:
    exact = {"token_s": 1e-4, "layer_s": 3e-5, "bandwidth": 7e9}
    return replace(device("x86-core").speeds[0], **{name: Range(one, one, one) for name, one in exact.items()})


def rates(scale=lambda model: 1.0, threads: int | None = 1) -> list[MeasuredRate]:
    return [
        MeasuredRate(
            model=f"m{i}",
            n_layers=layers,
            n_bytes=size,
            tokens_per_s=scale(i) / truth().seconds(layers, size).value,
            threads=threads,
        )
        for i, (layers, size) in enumerate(SIZES)
    ]


def test_it_recovers_the_constants_of_a_device_from_any_start():
    for start in ("budget-4gb", "flagship-12gb", "iphone-17-pro"):
        found = calibrate(device(start), rates(), engine="llama_cpp", unit="cpu").device.speeds[0]
        for name in ("token_s", "layer_s", "bandwidth"):
            assert getattr(found, name).value == pytest.approx(getattr(truth(), name).value, rel=1e-6)


def test_noise_of_a_tenth_moves_the_bandwidth_by_no_more_and_stands_in_the_range():
    noise = np.random.default_rng(0).uniform(0.9, 1.1, len(SIZES))
    found = calibrate(device("budget-4gb"), rates(lambda i: noise[i]))
    speed = found.device.speeds[0]
    assert speed.bandwidth.value == pytest.approx(7e9, rel=0.1)
    for one in found.used:
        expected = speed.seconds(one.n_layers, one.n_bytes)
        assert expected.low * (1 - 1e-9) <= one.seconds <= expected.high * (1 + 1e-9)
    assert max(map(abs, found.errors)) < 0.15


def test_one_rate_scales_a_device_and_is_met_exactly():
    one = MeasuredRate(model="SmolLM2", n_layers=30, n_bytes=1.45e8, tokens_per_s=50.0)
    found, before = calibrate(device("mid-8gb"), [one]).device.speeds[0], device("mid-8gb").speeds[0]
    assert 1 / found.seconds(30, 1.45e8).value == pytest.approx(50.0)
    assert found.layer_s.value / found.token_s.value == pytest.approx(before.layer_s.value / before.token_s.value)


def test_models_of_one_depth_tell_their_bytes_from_the_rest():
    sizes = (2e4, 1e5, 4e5)
    known = [
        MeasuredRate(model=str(n), n_layers=2, n_bytes=n, tokens_per_s=1 / truth().seconds(2, n).value) for n in sizes
    ]
    found, before = calibrate(device("mid-8gb"), known).device.speeds[0], device("mid-8gb").speeds[0]
    assert found.bandwidth.value == pytest.approx(7e9, rel=1e-6)
    assert found.seconds(2, 1e6).value == pytest.approx(truth().seconds(2, 1e6).value)
    assert found.layer_s.value / found.token_s.value == pytest.approx(before.layer_s.value / before.token_s.value)


def test_what_is_handed_on_of_a_cache_shows_where_models_have_different_shares_of_it(tmp_path):
    copying = replace(truth(), cache_bandwidth=Range(1e9, 1e9, 1e9))
    caches = (1e5, 8e4, 5e5, 1e6, 4e5)
    known = [
        replace(one, cache_bytes=cache, tokens_per_s=1 / copying.seconds(one.n_layers, one.n_bytes, cache).value)
        for one, cache in zip(rates(), caches, strict=True)
    ]
    found = calibrate(device("x86-core"), known).device
    assert found.speeds[0].cache_bandwidth.value == pytest.approx(1e9, rel=1e-6)
    assert found.speeds[0].layer_s.value == pytest.approx(3e-5, rel=1e-6)
    (tmp_path / "here.toml").write_text(device_toml(found, "here"))
    assert device(f"{tmp_path / 'here.toml'}:here").speeds[0].cache_bandwidth == found.speeds[0].cache_bandwidth
    # Where an engine keeps its cache nothing is seen of it, and too few models would show noise.
    kept = [replace(one, cache_bytes=cache) for one, cache in zip(rates(), caches, strict=True)]
    assert calibrate(device("x86-core"), kept).device.speeds[0].cache_bandwidth is None
    assert calibrate(device("x86-core"), known[:4]).device.speeds[0].cache_bandwidth is None


def test_the_fastest_number_of_threads_is_taken_and_a_stall_beyond_the_fast_cores_is_left_out():
    """llama.cpp#21763: 23.9 tokens/s with 4 threads, 0.26 with more."""
    four = rates(threads=4)
    two, six = rates(lambda _: 0.6, threads=2), rates(lambda _: 0.26 / 23.9, threads=6)
    found = calibrate(device("mid-8gb"), [*two, *six, *four])
    assert (found.threads, found.device.speeds[0].threads) == (4, 4)
    assert (set(found.slower), set(found.collapsed)) == (set(two), set(six))
    assert found.device.speeds[0].bandwidth.value == pytest.approx(7e9, rel=1e-6)


def test_of_equally_fast_numbers_of_threads_the_smaller_leaves_cores_for_the_app():
    assert calibrate(device("mid-8gb"), [*rates(threads=8), *rates(threads=4)]).threads == 4


def test_other_engines_of_a_phone_stay_as_they_were():
    phone = device("pixel-8a")
    found = calibrate(phone, rates(), engine="litert_lm", unit="cpu").device
    assert [(one.engine, one.unit) for one in found.speeds][0] == ("litert_lm", "cpu")
    assert found.speed("llama_cpp") == phone.speed("llama_cpp")
    assert calibrate(phone, rates(), engine="onnxruntime").device.speeds[0].engine == "onnxruntime"


def test_a_calibrated_device_is_read_back_from_its_file(tmp_path):
    found = calibrate(device("pixel-8a"), rates()).device
    (tmp_path / "mine.toml").write_text(device_toml(found, "my-phone"))
    read = device(f"{tmp_path / 'mine.toml'}:my-phone")
    kept = tuple(replace(one, rates=()) for one in found.speeds)
    assert read == replace(found, name="my-phone", speeds=kept)


def test_a_calibration_on_tiny_models_says_that_larger_ones_are_another_matter(capsys):
    # As fast with ten times the bytes: what a byte takes does not show.
    sizes = {"tiny": 1e5, "less tiny": 1e6, "small": 2e6}
    tiny = [
        replace(one, model=name, n_bytes=n_bytes, n_layers=2, tokens_per_s=6000.0)
        for one, (name, n_bytes) in zip(rates(), sizes.items(), strict=False)
    ]
    every, of_tiny = (calibrate(device("budget-4gb"), measured) for measured in (rates(), tiny))
    assert every.shows_bytes
    assert not of_tiny.shows_bytes
    # Larger models are forecast by what is known of the device, or as slow as the rates allow.
    found = of_tiny.device.speeds[0].bandwidth
    assert found.basis == "derived"
    assert found.value <= max(device("budget-4gb").speeds[0].bandwidth.value, 6000.0 * 2e6 / UNSEEN * 1.05)
    for found, said in ((every, False), (of_tiny, True)):
        show_calibration(found)
        assert ("measure one of more bytes as well" in " ".join(capsys.readouterr().out.split())) == said


def test_a_calibration_on_large_models_says_that_small_ones_are_another_matter(capsys):
    large = [one for one in rates() if one.n_bytes > 2e7]
    every, of_large = (calibrate(device("budget-4gb"), measured) for measured in (rates(), large))
    small = truth().seconds(2, 3e5).value
    assert every.reading_share == pytest.approx(3e5 / 7e9 / small)
    assert of_large.reading_share > 0.9
    for found, said in ((every, False), (of_large, True)):
        show_calibration(found)
        assert ("measure one as small" in " ".join(capsys.readouterr().out.split())) == said


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(SpecError, match="tokens/s above 0"):
        calibrate(device("mid-8gb"), [MeasuredRate(model="m", n_layers=2, n_bytes=1e6, tokens_per_s=rate)])
    with pytest.raises(SpecError, match="tokens/s above 0"):
        calibrate(device("mid-8gb"), [])
