"""Devices that a student may run on: memory and decoding constants, each figure with its source (devices.toml).

A phone is one block of a TOML file: of this room's, or of one's own, which is asked for as ``FILE.toml:NAME``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from scaling.errors import ConfigError
from scaling.registry import did_you_mean

APP_SHARE = 0.1
"""Share of a phone's memory that one app should take at most; the rest is the system's and other apps'.

Source: Liu et al. 2024 (MobileLLM), arXiv 2402.14905, section 1.
"""


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

    @property
    def app_bytes(self) -> int:
        """What one app should take of its memory at most."""
        return int(APP_SHARE * self.memory_bytes)


@cache
def devices() -> dict[str, Device]:
    """All devices of this room, by name."""
    return _parsed(resources.files("scaling.predict").joinpath("devices.toml").read_text("utf-8"), "devices.toml")


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
        return _parsed(path.read_text("utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read as a list of devices — {error}"]) from error


def _parsed(text: str, file: str) -> dict[str, Device]:
    return {name: _device(name, block, file) for name, block in tomllib.loads(text).items()}


def _device(name: str, block: Mapping[str, Any], file: str) -> Device:
    try:
        return Device(
            name=name,
            label=block["label"],
            memory_bytes=int(block["memory_bytes"]),
            bandwidth=Range(*map(float, block["bandwidth"])),
            layer_s=Range(*map(float, block["layer_s"])),
            token_s=Range(*map(float, block["token_s"])),
            sources=tuple(block["sources"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            [
                f"{file}: {name}: not a device ({type(error).__name__}: {error}) — it needs label, memory_bytes, "
                "sources, and bandwidth, layer_s and token_s as [value, low, high]; see scaling/predict/devices.toml"
            ]
        ) from error
