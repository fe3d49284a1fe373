"""Devices that a student may run on: memory and decoding constants, each figure with its source (devices.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from scaling.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """A figure with the range that it is believed to lie in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a device brings to one student.

    Attributes:
        name: Key in devices.toml.
        label: For people.
        memory_bytes: All of its memory.
        bandwidth: Bytes/s that an engine really reads while it writes tokens; a half to two thirds of the peak.
        layer_s: Seconds of overhead for each layer and token.
        token_s: Seconds of overhead for each token.
        sources: Where the figures come from.
    """

    name: str
    label: str
    memory_bytes: int
    bandwidth: Range
    layer_s: Range
    token_s: Range
    sources: tuple[str, ...]


@cache
def devices() -> dict[str, Device]:
    """All devices known, by name."""
    text = resources.files("scaling.predict").joinpath("devices.toml").read_text("utf-8")
    return {
        name: Device(
            name=name,
            label=entry["label"],
            memory_bytes=entry["memory_bytes"],
            bandwidth=Range(*entry["bandwidth"]),
            layer_s=Range(*entry["layer_s"]),
            token_s=Range(*entry["token_s"]),
            sources=tuple(entry["sources"]),
        )
        for name, entry in tomllib.loads(text).items()
    }


def device(name: str) -> Device:
    """One device by name.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in devices():
        raise ConfigError([f"unknown device {name!r} — known: {', '.join(devices())}"])
    return devices()[name]
