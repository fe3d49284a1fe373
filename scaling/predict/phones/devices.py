"""Devices that a student may run on: year, memory, and how fast engines write on them, each figure with its source.

A phone is one block of a TOML file: of this room's (devices.toml), or of one's own, which is asked for as
``FILE.toml:NAME``. A block says of each engine either the constants of its speed, or the rates that others published,
from which the constants follow.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from scaling.accounting import PHONE, Architecture
from scaling.errors import ConfigError, SpecError
from scaling.registry import did_you_mean

APP_SHARE = 0.1
"""Share of a phone's memory that one app should take at most; the rest is the system's and other apps'.

Source: Liu et al. 2024 (MobileLLM), arXiv 2402.14905, section 1.
"""

Basis = Literal["published", "measured", "derived", "unverified"]
"""Where a figure comes from: its source says it, this project measured it, it was computed from what a source says, or
it is a guess or hearsay."""

Unit = Literal["cpu", "gpu", "npu"]

MEASURE_IT = "measure it there, then: scaling calibrate TABLE --engine ENGINE --out mine.toml"
"""What to do where nobody said how fast an engine writes on a device."""


@dataclass(frozen=True)
class Range:
    """A figure with the range that it is believed to lie in.

    Attributes:
        value: The figure.
        low: Smallest that is believed.
        high: Largest that is believed.
        basis: How far to trust it.
        source: Where it comes from.
    """

    value: float
    low: float
    high: float
    basis: Basis = "unverified"
    source: str = ""

    def times(self, factor: float) -> Range:
        """The same figure in another unit, or of a device that is so much faster."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)


@dataclass(frozen=True, kw_only=True)
class PublishedRate:
    """What somebody measured of one model on a device.

    Attributes:
        model: Its name and type.
        n_layers: L.
        n_bytes: Read for each token.
        tokens_per_s: While writing.
        n_params: Weights that a token is multiplied with; needed for what is said of reading a prompt.
        prompt_per_s: Tokens of a prompt read in a second; None where nobody said.
        basis: How far to trust it.
        source: Who says so.
    """

    model: str
    n_layers: int
    n_bytes: float
    tokens_per_s: Range
    n_params: float | None
    prompt_per_s: float | None
    basis: Basis
    source: str


@dataclass(frozen=True, kw_only=True)
class EngineSpeed:
    """How fast one engine writes on one unit of a device.

    ``seconds = token_s + layer_s·L + bytes/bandwidth + cache_bytes/cache_bandwidth``

    Attributes:
        engine: Its name.
        unit: Processor, graphics processor, or neural processor.
        bandwidth: Bytes/s that the engine really reads while it writes; a half to two thirds of the memory's peak.
        layer_s: Seconds of overhead for each layer and token.
        token_s: Seconds of overhead for each token.
        flops_per_s: While reading a prompt; None where nobody said.
        cache_bandwidth: Bytes/s of the float32 keys and values before, where the engine is handed them anew for each
            token, and what it copies of them shows; None where it does not.
        threads: Threads at which it is this fast; None where the engine chooses.
        rates: What the constants were derived from.
    """

    engine: str
    unit: Unit
    bandwidth: Range
    layer_s: Range
    token_s: Range
    flops_per_s: Range | None = None
    cache_bandwidth: Range | None = None
    threads: int | None = None
    rates: tuple[PublishedRate, ...] = ()

    def seconds(self, n_layers: int, n_bytes: float, cache_bytes: float = 0.0) -> Range:
        """Time of one token: at the central figures, at the fast and at the slow end of all of them."""
        token, layer, band, cache = self.token_s, self.layer_s, self.bandwidth, self.cache_bandwidth
        copied = Range(0, 0, 0) if cache is None else _times(cache, cache_bytes)
        return Range(
            token.value + layer.value * n_layers + n_bytes / band.value + copied.value,
            token.low + layer.low * n_layers + n_bytes / band.high + copied.low,
            token.high + layer.high * n_layers + n_bytes / band.low + copied.high,
        )

    def slower(self, factor: float) -> EngineSpeed:
        """The same engine on a unit where everything takes so many times as long."""
        flops, cache = self.flops_per_s, self.cache_bandwidth
        return replace(
            self,
            bandwidth=self.bandwidth.times(1 / factor),
            cache_bandwidth=None if cache is None else cache.times(1 / factor),
            layer_s=self.layer_s.times(factor),
            token_s=self.token_s.times(factor),
            flops_per_s=None if flops is None else flops.times(1 / factor),
        )

    def reaching(self, low: float, high: float) -> EngineSpeed:
        """With ranges wide enough for times of ``low`` and ``high`` times the central one."""

        def widened(figure: Range, fast: float, slow: float) -> Range:
            least, most = min(figure.low, figure.value * fast), max(figure.high, figure.value * slow)
            return replace(figure, low=least, high=most)

        return replace(
            self,
            bandwidth=widened(self.bandwidth, 1 / high, 1 / low),
            layer_s=widened(self.layer_s, low, high),
            token_s=widened(self.token_s, low, high),
        )


def _times(bandwidth: Range, n_bytes: float) -> Range:
    """Seconds that bytes take, the fewest at the highest bandwidth."""
    return Range(n_bytes / bandwidth.value, n_bytes / bandwidth.high, n_bytes / bandwidth.low)


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a device brings to one student.

    Attributes:
        name: Key in devices.toml.
        label: For people.
        year: In which it was first sold; of a class of phones, in which they were typical.
        architecture: Of its processor.
        memory: All of its memory, bytes.
        speeds: One for each engine and unit of which something is known; the first is asked where none is named.
    """

    name: str
    label: str
    year: int
    architecture: Architecture
    memory: Range
    speeds: tuple[EngineSpeed, ...]

    @property
    def is_class(self) -> bool:
        """True for a class of phones, of which no single one was measured."""
        return self.architecture == PHONE and not any(speed.rates for speed in self.speeds)

    @property
    def memory_bytes(self) -> int:
        """All of its memory."""
        return int(self.memory.value)

    @property
    def app_bytes(self) -> int:
        """What one app should take of its memory at most."""
        return int(APP_SHARE * self.memory_bytes)

    def knows(self, engine: str) -> bool:
        """Whether somebody said how fast an engine writes there."""
        return any(one.engine == engine for one in self.speeds)

    def speed_for(self, engine: str) -> EngineSpeed:
        """How fast an engine writes where that is known, else how fast the first of which it is; it says which."""
        return self.speed(engine if self.knows(engine) else None)

    def instead_of(self, engine: str) -> str | None:
        """Whose speed `speed_for` takes for that of an engine, in a sentence; None where the engine's own is known."""
        if self.knows(engine):
            return None
        known = ", ".join(dict.fromkeys(one.engine for one in self.speeds))
        return (
            f"nobody measured {engine} on {self.name}, this is {self.speeds[0].engine} (known: {known}); {MEASURE_IT}"
        )

    def speed(self, engine: str | None = None, unit: str | None = None) -> EngineSpeed:
        """How fast an engine writes on a unit; by default the first that is known.

        Raises:
            SpecError: nothing is known of this engine on this unit.
        """
        for one in self.speeds:
            if engine in (None, one.engine) and unit in (None, one.unit):
                return one
        known = ", ".join(f"{one.engine} on {one.unit}" for one in self.speeds)
        asked = " on ".join(part for part in (engine, unit) if part)
        raise SpecError(f"nothing is known of {asked} on {self.name} — known: {known}; {MEASURE_IT}")


@cache
def devices() -> dict[str, Device]:
    """All devices of this room, by name."""
    return _parsed(Path(__file__).with_name("devices.toml").read_text("utf-8"), "devices.toml", {})


def device(name: str) -> Device:
    """One device: by the name of a block of devices.toml, or as ``FILE.toml:NAME`` of one's own.

    Raises:
        ConfigError: if there is none of this name, or the file holds something else.
    """
    file, _, own = name.rpartition(":")
    known = read_devices(Path(file)) if file.endswith(".toml") else devices()
    own = own if file.endswith(".toml") else name
    if own not in known:
        raise ConfigError([f"unknown device {name!r}{did_you_mean(own, known)}"])
    return known[own]


def read_devices(path: Path) -> dict[str, Device]:
    """Devices of a file of one's own, by name.

    Raises:
        ConfigError: if it cannot be read, or a block lacks a figure.
    """
    try:
        return _parsed(path.read_text("utf-8"), str(path), devices())
    except FileNotFoundError:
        raise ConfigError(
            [f"{path}: no such file — name one that `scaling calibrate` wrote; `scaling devices` lists what is known"]
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read as a list of devices — {error}"]) from error


def _parsed(text: str, file: str, known: Mapping[str, Device]) -> dict[str, Device]:
    """Devices by name. A block with published rates names one before it as ``like``, whose constants they scale."""
    found: dict[str, Device] = {}
    for name, block in tomllib.loads(text).items():
        try:
            found[name] = _device(name, block, {**known, **found})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                [
                    f"{file}: {name}: not a device ({type(error).__name__}: {error}) — it needs label, year, memory, "
                    "and [[speed]] with engine, unit, bandwidth, layer_s, token_s, or like and [[rate]]; a figure is "
                    "{ value, low, high, basis, source }; see scaling/predict/phones/devices.toml"
                ]
            ) from error
    return found


def _device(name: str, block: Mapping[str, Any], known: Mapping[str, Device]) -> Device:
    given = tuple(_speed(one) for one in block.get("speed", ()))
    scaled = _scaled(known[block["like"]], block["rate"]) if "rate" in block else ()
    if not given and not scaled:
        raise ValueError("no engine's speed")
    return Device(
        name=name,
        label=block["label"],
        year=int(block["year"]),
        architecture=_one_of(get_args(Architecture), block.get("architecture", PHONE)),
        memory=_figure(block["memory"]),
        speeds=given + scaled,
    )


def _figure(block: Mapping[str, Any]) -> Range:
    """A figure with its range, which is the figure itself where none is given."""
    value = float(block["value"])
    low, high = float(block.get("low", value)), float(block.get("high", value))
    if not 0 < low <= value <= high < math.inf:
        raise ValueError(f"{value:g} does not lie between {low:g} and {high:g}, or is not positive")
    return Range(value, low, high, _one_of(get_args(Basis), block["basis"]), block["source"])


def _speed(block: Mapping[str, Any]) -> EngineSpeed:
    return EngineSpeed(
        engine=block["engine"],
        unit=_one_of(get_args(Unit), block["unit"]),
        bandwidth=_figure(block["bandwidth"]),
        layer_s=_figure(block["layer_s"]),
        token_s=_figure(block["token_s"]),
        flops_per_s=_figure(block["flops_per_s"]) if "flops_per_s" in block else None,
        cache_bandwidth=_figure(block["cache_bandwidth"]) if "cache_bandwidth" in block else None,
        threads=block.get("threads"),
    )


def _scaled(like: Device, blocks: Iterable[Mapping[str, Any]]) -> tuple[EngineSpeed, ...]:
    """Speeds of the engines and units of which rates were published, in the order in which they are first named."""
    rates: dict[tuple[str, Unit], list[PublishedRate]] = {}
    for block in blocks:
        key = (block["engine"], _one_of(get_args(Unit), block["unit"]))
        rates.setdefault(key, []).append(_rate(block))
    return tuple(scaled_to(like.speeds[0], engine, unit, found) for (engine, unit), found in rates.items())


def _rate(block: Mapping[str, Any]) -> PublishedRate:
    per_s = [float(rate) for rate in block["tokens_per_s"]]
    return PublishedRate(
        model=block["model"],
        n_layers=int(block["n_layers"]),
        n_bytes=float(block["n_bytes"]),
        tokens_per_s=Range(math.sqrt(per_s[0] * per_s[-1]), per_s[0], per_s[-1]),
        n_params=block.get("n_params"),
        prompt_per_s=block.get("prompt_per_s"),
        basis=_one_of(get_args(Basis), block["basis"]),
        source=block["source"],
    )


def scaled_to(known: EngineSpeed, engine: str, unit: Unit, rates: Iterable[PublishedRate]) -> EngineSpeed:
    """Constants of an engine whose rates were published, from those of a device of its class.

    All constants are scaled by one factor, the geometric mean of published over expected times; one or two models
    cannot tell them apart. Ranges are those of the class, widened where a published rate lies outside.

    Args:
        known: Constants of the class.
        engine: Name of the engine.
        unit: Where it runs.
        rates: What was published; at least one.
    """
    rates = tuple(rates)
    # One factor for all constants, then ranges that reach every published rate.
    slowness = [1 / one.tokens_per_s.value / known.seconds(one.n_layers, one.n_bytes).value for one in rates]
    factor = math.exp(sum(map(math.log, slowness)) / len(slowness))
    scaled = known.slower(factor)
    wide = scaled.reaching(*_spread(scaled, rates))
    basis: Basis = "unverified" if all(one.basis == "unverified" for one in rates) else "derived"
    source = "; ".join(dict.fromkeys(one.source for one in rates))

    def sourced(figure: Range) -> Range:
        return replace(figure, basis=basis, source=source)

    flops = [2 * one.n_params * one.prompt_per_s for one in rates if one.n_params and one.prompt_per_s]
    return replace(
        wide,
        engine=engine,
        unit=unit,
        bandwidth=sourced(wide.bandwidth),
        layer_s=sourced(wide.layer_s),
        token_s=sourced(wide.token_s),
        flops_per_s=Range(max(flops), min(flops), max(flops), basis, source) if flops else None,
        threads=None,
        rates=rates,
    )


def _spread(speed: EngineSpeed, rates: Iterable[PublishedRate]) -> tuple[float, float]:
    """The shortest and the longest published time, of the central one."""
    times = [
        1 / rate / speed.seconds(one.n_layers, one.n_bytes).value
        for one in rates
        for rate in (one.tokens_per_s.low, one.tokens_per_s.high)
    ]
    return min(times), max(times)


def _one_of(allowed: tuple[Any, ...], word: Any) -> Any:
    if word not in allowed:
        raise ValueError(f"{word!r}{did_you_mean(word, allowed)}")
    return word
