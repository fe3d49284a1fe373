"""A device whose constants are those of its user's own measurements."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from scaling.accounting import Storage, decode_bytes, kv_cache_bytes
from scaling.dimensions import Dimensions
from scaling.errors import SpecError
from scaling.predict.phones.devices import Device, EngineSpeed, Range, Unit

if TYPE_CHECKING:
    import numpy as np

COLLAPSE = 0.5
"""A rate below this share of the best of its model is no speed but a stall: threads beyond the fast cores wait for the
slow ones (llama.cpp#21763: 23.9 tokens/s with 4 threads, 0.26 with more)."""

SPREAD = 0.17
"""Share by which the time of a size that was not measured differs at most, by analysis/speed.py; a range is never
narrower, however well the constants fit what they were fitted to."""

BYTES, CACHE = 2, 3
"""Columns of a token's bytes and of what is copied of the cache, behind those of a token and its layers."""

LEAST = 1e-6
"""A constant is never fitted below this share of the one known before, so that no time is zero."""

UNSEEN = 0.01
"""Share of a model's time that is lost in the noise of its measurement, which repeats to some per cent."""


@dataclass(frozen=True, kw_only=True)
class MeasuredRate:
    """One measured rate of a model.

    Attributes:
        model: Its name, by which rates of one model are told from those of another.
        n_layers: L.
        n_bytes: Weights and cache read for each token.
        cache_bytes: Of the keys and values before, as float32; 0 where it is not known.
        tokens_per_s: While writing.
        threads: With how many; None where that is not known.
        prompt_flops_per_s: While reading a prompt; None where that was not measured.
    """

    model: str
    n_layers: int
    n_bytes: float
    tokens_per_s: float
    cache_bytes: float = 0.0
    threads: int | None = None
    prompt_flops_per_s: float | None = None

    @classmethod
    def of(cls, name: str, model: Dimensions, storage: Storage, tokens_per_s: float) -> MeasuredRate:
        """The rate of a model of this project, at half of its context as `decode_speed` has it."""
        half = model.context // 2
        return cls(
            model=name,
            n_layers=model.n_layers,
            n_bytes=decode_bytes(model, storage, position=half),
            cache_bytes=kv_cache_bytes(model, half, value_bytes=4),
            tokens_per_s=tokens_per_s,
        )

    @property
    def seconds(self) -> float:
        return 1 / self.tokens_per_s


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A device with its user's constants, and what was left out.

    Attributes:
        device: The device; its calibrated engine comes first.
        threads: The number that was fastest; None where none was named.
        used: Rates that the constants were fitted to.
        slower: Rates at other numbers of threads.
        collapsed: Rates that stalled.
        errors: Relative error of each used rate's time, as fitted.
    """

    device: Device
    threads: int | None
    used: tuple[MeasuredRate, ...]
    slower: tuple[MeasuredRate, ...]
    collapsed: tuple[MeasuredRate, ...]
    errors: tuple[float, ...]

    @property
    def reading_share(self) -> float:
        """Of the time of the smallest model that was used, what reading its bytes takes.

        The nearer to one, the less the rates say of the token and its layers, which are most of the time of far smaller
        models.
        """
        one, speed = min(self.used, key=lambda one: one.n_bytes), self.device.speeds[0]
        return one.n_bytes / speed.bandwidth.value / speed.seconds(one.n_layers, one.n_bytes, one.cache_bytes).value

    @property
    def shows_bytes(self) -> bool:
        """Whether the rates say anything of a byte, and so of larger models."""
        return self.device.speeds[0].bandwidth.basis == "measured"


def calibrate(
    device: Device, measured: Sequence[MeasuredRate], *, engine: str | None = None, unit: Unit | None = None
) -> Calibrated:
    """Refit a device's constants to measured rates.

    Of the numbers of threads the fastest is taken. Three or more models of different depth and size give all three
    constants (least squares of relative time errors, none negative). Models of one depth give what a byte takes, and
    one factor for what a token and a layer take on the device. Fewer scale its constants by their common factor. Where
    what a byte takes does not show, it is what it was, but ``UNSEEN`` of the largest model's time at most. One
    model more than that, with another share of cache, also shows what copying the cache takes. Ranges become the spread
    of the measurements around the result, and ``SPREAD`` at least.

    Args:
        device: Whose constants are the start.
        measured: Rates of one engine on this device.
        engine: Name of the engine; by default the device's first.
        unit: Where it ran; likewise.

    Raises:
        SpecError: if nothing was measured, or a rate is not positive.
    """
    if not measured or not all(0 < one.tokens_per_s < math.inf for one in measured):
        raise SpecError(f"calibration needs measured tokens/s above 0 — got {[one.tokens_per_s for one in measured]}")
    # What stalled says nothing of the device, and other numbers of threads are other devices.
    best = {one.model: max(other.tokens_per_s for other in measured if other.model == one.model) for one in measured}
    collapsed = tuple(one for one in measured if one.tokens_per_s < COLLAPSE * best[one.model])
    sound = [one for one in measured if one not in collapsed]
    threads = fastest_threads(sound)
    used = tuple(one for one in sound if one.threads == threads)
    known = _known(device, engine, unit)
    speed = replace(_fitted(known, used), threads=threads)
    errors = tuple(speed.seconds(one.n_layers, one.n_bytes, one.cache_bytes).value / one.seconds - 1 for one in used)
    others = tuple(one for one in device.speeds if (one.engine, one.unit) != (speed.engine, speed.unit))
    return Calibrated(
        device=replace(device, speeds=(speed, *others)),
        threads=threads,
        used=used,
        slower=tuple(one for one in sound if one.threads != threads),
        collapsed=collapsed,
        errors=errors,
    )


def fastest_threads(rates: Sequence[MeasuredRate]) -> int | None:
    """The number of threads at which models write fastest: by the geometric mean of each model's rate over its best.

    A number at which few of the models were measured counts its models alone; of equals the smallest is taken, which
    leaves cores for the app.
    """
    best = {one.model: max(other.tokens_per_s for other in rates if other.model == one.model) for one in rates}

    def score(threads: int | None) -> float:
        return fmean(math.log(one.tokens_per_s / best[one.model]) for one in rates if one.threads == threads)

    return max(sorted({one.threads for one in rates}, key=lambda count: count or 0), key=score)


def _known(device: Device, engine: str | None, unit: Unit | None) -> EngineSpeed:
    """Where the fit starts: what is known of this engine there, or of any other."""
    first = device.speeds[0]
    engine, unit = engine or first.engine, unit or first.unit
    for one in device.speeds:
        if (one.engine, one.unit) == (engine, unit):
            return one
    return replace(first, engine=engine, unit=unit, flops_per_s=None)


def _fitted(known: EngineSpeed, used: Sequence[MeasuredRate]) -> EngineSpeed:
    """Constants with the least relative errors of time, and the spread of the measurements around them."""
    import numpy as np

    seconds = np.array([one.seconds for one in used])
    terms = np.array([(1.0, one.n_layers, one.n_bytes, one.cache_bytes) for one in used])
    per_byte = 1 / known.bandwidth.value
    start = np.array([known.token_s.value, known.layer_s.value, per_byte, per_byte])
    # Of relative errors: each model's time counts as one. What copying the cache takes is nothing until it shows.
    shares, constants = terms / seconds[:, None] * start, start * (1, 1, 1, 0)
    # Reading that does not show is as slow as it may be unseen: a larger model is forecast none the faster for it.
    least, shows_bytes = {BYTES: min(1.0, UNSEEN / float(shares[:, BYTES].max())), CACHE: 0.0}, True
    for group, factor in _factors(shares):
        constants[group] = start[group] * max(factor, least.get(group[0], LEAST))
        shows_bytes = shows_bytes and (group != [BYTES] or factor > least[BYTES])
    ratio = seconds / (terms @ constants)
    fast, slow = min(1 / (1 + SPREAD), float(ratio.min())), max(1 + SPREAD, float(ratio.max()))
    token, layer, per_byte, per_cached = (float(value) for value in constants)
    source = f"calibrated on {len(used)} measured rates"

    def spread(value: float) -> Range:
        return Range(value, value * fast, value * slow, "measured", source)

    def rate(per_byte: float) -> Range:
        return Range(1 / per_byte, 1 / (per_byte * slow), 1 / (per_byte * fast), "measured", source)

    bandwidth = rate(per_byte)
    if not shows_bytes:
        bandwidth = replace(bandwidth, basis="derived", source=f"{source}, too small to show what a byte takes")

    flops = [one.prompt_flops_per_s for one in used if one.prompt_flops_per_s]
    middle = sorted(flops)[len(flops) // 2] if flops else None
    return replace(
        known,
        token_s=spread(token),
        layer_s=spread(layer),
        bandwidth=bandwidth,
        cache_bandwidth=rate(per_cached) if per_cached > LEAST * per_byte else None,
        flops_per_s=Range(middle, min(flops), max(flops), "measured", source) if middle else known.flops_per_s,
        rates=(),
    )


def _factors(shares: np.ndarray) -> list[tuple[list[int], float]]:
    """What the known constants are to be multiplied with, those together that the models do not tell apart.

    Args:
        shares: float64[n, 4], of each model's measured time what a token, its layers, its bytes and one pass over its
            cache were to take.
    """
    import numpy as np
    from scipy.optimize import nnls

    rank, depth = np.linalg.matrix_rank(shares[:, :CACHE]), shares[:, 1] / shares[:, 0]
    if rank == 3:
        groups = [[0], [1], [2]]
    elif rank == 2 and np.ptp(depth) <= 1e-9 * depth[0]:
        groups = [[0, 1], [2]]  # models of one depth do not tell a token from its layers
    else:
        groups = [[0, 1, 2]]
    # A constant that as many models decide as there are constants would be their noise.
    if len(groups) > 1 and len(shares) > len(groups) + 1 and np.linalg.matrix_rank(shares) > rank:
        groups.append([CACHE])
    parts = np.stack([shares[:, group].sum(axis=1) for group in groups], axis=1)
    return list(zip(groups, nnls(parts, np.ones(len(parts)))[0], strict=True))


def device_toml(device: Device, name: str) -> str:
    """A device as one block of a file that is asked for as ``FILE.toml:NAME``, with its engine's constants."""
    lines = [
        f"[{name}]",
        f"label = {json.dumps(device.label, ensure_ascii=False)}",
        f"year = {device.year}",
        f'architecture = "{device.architecture}"',
        f"memory = {_written(device.memory)}",
    ]
    for speed in device.speeds:
        lines += ["", f"[[{name}.speed]]", f'engine = "{speed.engine}"', f'unit = "{speed.unit}"']
        for field in ("bandwidth", "layer_s", "token_s", "flops_per_s", "cache_bandwidth"):
            figure = getattr(speed, field)
            if figure is not None:
                lines.append(f"{field} = {_written(figure)}")
        if speed.threads is not None:
            lines.append(f"threads = {speed.threads}")
    return "\n".join(lines) + "\n"


def _written(figure: Range) -> str:
    source = json.dumps(figure.source, ensure_ascii=False)
    return (
        f"{{ value = {figure.value!r}, low = {figure.low!r}, high = {figure.high!r}, "
        f'basis = "{figure.basis}", source = {source} }}'
    )
