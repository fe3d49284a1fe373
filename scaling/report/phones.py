"""Phones, and what a model takes and does on them, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from scaling.numbers import number, size
from scaling.predict.phones.devices import MEASURE_IT
from scaling.report.columns import wrapped
from scaling.report.numbers import energy, rate
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.predict.phones.calibrate import Calibrated
    from scaling.predict.phones.devices import Device, EngineSpeed, Range
    from scaling.predict.phones.on_device import Energy, OnPhones

UNVERIFIED = "?"
"""Behind a figure that nobody vouches for."""


def show_footprint(found: OnPhones) -> None:
    """Bytes line by line, tokens a second on each phone, energy where it was asked for."""
    model = found.model
    sizes = f"{number(found.n_params_total)} parameters, {number(found.n_params)} without embeddings"
    print(wrapped(f"{found.name}: {sizes} — {found.origin}"))
    print(
        f"  width {model.width}, {model.n_layers} layers, {model.n_heads} heads of {model.head_width}, "
        f"{model.n_kv_heads} of keys and values, hidden {model.hidden}, vocabulary {model.vocab_size:,}"
    )
    if found.formats:
        show(_bytes_table(found))
    if found.devices:
        show(_speed_table(found))
        print(f"? unverified; tokens/s with half of {found.context:,} tokens read; ranges: `scaling devices --sources`")
        for said in _other_engines(found):
            print(wrapped(said))
    if found.energy is not None:
        _show_energy(found.energy)


def _bytes_table(found: OnPhones) -> Table:
    """One line a part, one column a format; engines differ in what they call their parts."""
    table = Table(box=None, pad_edge=False)
    table.add_column(f"bytes, {found.formats[0].architecture}, {found.context:,} tokens")
    for one in found.formats:
        table.add_column(one.format, justify="right")
    names = list(dict.fromkeys(line.name for one in found.formats for line in one.lines))
    for name in names:
        sizes = [sum(line.n_bytes for line in one.lines if line.name == name) for one in found.formats]
        if any(sizes):
            table.add_row(name, *(size(count) if count else "" for count in sizes))
    sums = [one.footprint for one in found.formats]
    table.add_row("in all", *(size(one.total_bytes) for one in sums), style="bold")
    table.add_row("  of it the mapped file", *(size(one.weights_bytes) for one in sums))
    table.add_row("  of it cannot be evicted", *(size(one.anonymous_bytes) for one in sums))
    return table


def _speed_table(found: OnPhones) -> Table:
    """One row for each phone and engine, one column a format."""
    formats = [one.format for one in found.formats]
    table = Table(box=None, pad_edge=False)
    for name in ("tokens/s", "year", "engine"):
        table.add_column(name, no_wrap=True)
    for name in (*formats, "least – most", "of its memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for device, engine, unit in dict.fromkeys((one.device, one.engine, one.unit) for one in found.devices):
        rows = [one for one in found.devices if (one.device, one.engine, one.unit) == (device, engine, unit)]
        rates = {one.format: rate(one.speed.tokens_per_s) for one in rows}
        speeds, shares = [one.speed for one in rows], [one.memory_share for one in rows]
        # Formats have ranges of their own; the widest is true of each.
        least = min(speed.low / speed.tokens_per_s for speed in speeds)
        most = max(speed.high / speed.tokens_per_s for speed in speeds)
        spread = f"× {least:.2g} – {most:.2g}"
        mark = f" {UNVERIFIED}" if rows[0].basis == "unverified" else ""
        cells = [rates.get(name, "") for name in formats]
        table.add_row(device + mark, str(rows[0].year), f"{engine}, {unit}", *cells, spread, _shares(shares))
    return table


def _other_engines(found: OnPhones) -> Iterator[str]:
    """Where the speed of a format is that of another engine than it is made for, which nobody measured there."""
    made_for = {one.format: one.engine for one in found.formats}
    for engine in dict.fromkeys(made_for.values()):
        where = dict.fromkeys(one.device for one in found.devices if made_for[one.format] == engine != one.engine)
        if where:
            said = (
                f"nobody measured {engine} on {', '.join(where)}: the speed there is that of the engine that is named"
            )
            yield f"{said}; {MEASURE_IT}"


def _shares(of_memory: Sequence[float]) -> str:
    """From the least to the most, in per cent; above ten times the memory the digits say nothing."""
    least, most = (
        "< 1%" if share < 0.005 else f"{share:.0%}" if share < 10 else "> 1000%"
        for share in (min(of_memory), max(of_memory))
    )
    return least if least == most else f"{least} – {most}"


def _show_energy(found: Energy) -> None:
    joules = found.token_joules
    print(
        f"energy of a written token: {joules.value:.2g} J ({joules.low:.2g} – {joules.high:.2g}); "
        f"{number(found.tokens_per_charge)} tokens empty a battery of 50 kJ"
    )
    cost = f"{found.training_flops:.3g} FLOPs, {energy(found.training_kwh)}"
    print(wrapped(f"training on {number(found.training_tokens)} tokens: {cost}"))
    print(wrapped(f"  on {found.source}; SCALING_WATTS, SCALING_PUE and SCALING_KG_PER_KWH change it"))


def show_devices(devices: Sequence[Device], *, sources: bool) -> None:
    """One row for each engine of a device."""
    table = Table(box=None, pad_edge=False)
    for name in ("year", "device", "memory", "one app", "engine", "GB/s", "ms/layer", "prompt GFLOP/s", "basis"):
        table.add_column(name, justify="right" if name in ("memory", "one app", "GB/s") else "left", no_wrap=True)
    for one in devices:
        for i, speed in enumerate(one.speeds):
            head = [str(one.year), one.name, f"{one.memory_bytes / 1e9:g} GB", f"{one.app_bytes / 1e6:,.0f} MB"]
            table.add_row(*(head if i == 0 else 4 * [""]), *_speed_cells(speed))
    show(table)
    print("a token takes token_s + layer_s · layers + bytes / bandwidth; one app: a tenth of the memory")
    if sources:
        _show_sources(devices)


def _speed_cells(speed: EngineSpeed) -> list[str]:
    flops = speed.flops_per_s
    return [
        f"{speed.engine}, {speed.unit}",
        _scaled(speed.bandwidth, 1e-9),
        f"{speed.layer_s.value * 1e3:.2g}",
        "" if flops is None else _scaled(flops, 1e-9),
        speed.bandwidth.basis,
    ]


def _scaled(figure: Range, factor: float) -> str:
    value, low, high = (f"{factor * one:.2g}" if factor * one < 99.5 else f"{factor * one:.0f}" for one in (
        figure.value, figure.low, figure.high
    ))  # fmt: skip
    return f"{value} ({low}–{high})"


def _show_sources(devices: Sequence[Device]) -> None:
    for one in devices:
        print(f"\n{one.name}: {one.label}")
        print(wrapped(f"  memory ({one.memory.basis}): {one.memory.source}"))
        for speed in one.speeds:
            print(f"  {speed.engine} on {speed.unit}")
            for known in speed.rates:
                low, high = known.tokens_per_s.low, known.tokens_per_s.high
                told = f"{low:g}" if low == high else f"{low:g} – {high:g}"
                print(wrapped(f"    {known.model}: {told} tokens/s ({known.basis}) — {known.source}"))
            if not speed.rates:
                for name in ("bandwidth", "layer_s", "token_s", "flops_per_s", "cache_bandwidth"):
                    figure = getattr(speed, name)
                    if figure is not None:
                        print(wrapped(f"    {name} ({figure.basis}): {figure.source}"))


MOSTLY_READING = 0.7
"""Share of time from which on a calibration says little of smaller models: where it was .8 on this server they were off
by 18 % in the median, 26 % at most (analysis/speed.py)."""


def show_calibration(found: Calibrated) -> None:
    """The constants, how well they fit, and what was left out."""
    speed = found.device.speeds[0]
    print(
        f"{found.device.label}: {speed.engine} on {speed.unit}"
        f"{'' if found.threads is None else f', {found.threads} threads'}"
    )
    print(
        f"  {speed.bandwidth.value / 1e9:.3g} GB/s, {speed.layer_s.value * 1e3:.3g} ms a layer, "
        f"{speed.token_s.value * 1e3:.3g} ms a token"
    )
    if (cache := speed.cache_bandwidth) is not None:
        print(f"  the keys and values before, as float32, are handed on at {cache.value / 1e9:.3g} GB/s")
    for one, error in zip(found.used, found.errors, strict=True):
        print(f"  {one.model}: {one.tokens_per_s:.4g} tokens/s measured, time fitted to {error:+.1%}")
    for what, rates in (("slower", found.slower), ("stalled", found.collapsed)):
        for one in rates:
            threads = "" if one.threads is None else f" with {one.threads} threads"
            print(f"  {one.model}: {what}{threads}, {one.tokens_per_s:.4g} tokens/s; left out")
    if found.reading_share > MOSTLY_READING:
        smallest = size(min(one.n_bytes for one in found.used))
        said = f"reading is {found.reading_share:.0%} of the time of the smallest model ({smallest}): these rates say"
        print(wrapped(f"  {said} little of far smaller ones — measure one as small as the student that is asked about"))
    if not found.shows_bytes:
        largest = size(max(one.n_bytes for one in found.used))
        said = (
            f"reading is none of the time of the largest model ({largest}): the GB/s are the least that fit, and these"
        )
        print(wrapped(f"  {said} rates say nothing of larger ones — measure one of more bytes as well"))
