"""Numbers as a person reads them."""

from __future__ import annotations

import math
import os


def loss(value: float) -> str:
    """Nats/token to four digits; two would hide an int8 difference, six would claim what no run can resolve."""
    return "not identified" if math.isnan(value) else f"{value:.4f}"


def number(value: float) -> str:
    """12300000 as 12.3M."""
    if math.isnan(value):
        return "not identified"
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    for factor, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor and abs(value) < factor * 1000:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}"


def size(n_bytes: float) -> str:
    """Bytes in binary units."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.4g} {unit}"
    return f"{n_bytes:.0f} B"


def rate(per_s: float) -> str:
    """Tokens/s: 0.52, 5.8, 43, 1,033."""
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.2g}"


def seconds(value: float) -> str:
    """Seconds as a person reads them."""
    if 0 < value < 0.1:
        return f"{1e3 * value:.2g} ms"
    return f"{value:.1f} s" if value < 90 else f"{int(value) // 60} min {int(value) % 60} s"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``45 s``, ``3 min``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def energy(kwh: float) -> str:
    """kWh and CO2 equivalents, in units that a person knows where they come to a twentieth of one."""
    from scaling.accounting import EnergySettings, Familiar

    co2e_kg = EnergySettings.from_environment(os.environ).co2e_kg(kwh)
    known, said = Familiar.of(kwh, co2e_kg), f"{kwh:.3g} kWh, {co2e_kg:.3g} kg CO2e"
    if known.household_days < 0.05:
        return said
    flights = f" or {known.flights:.2g} flights New York – San Francisco and back" if known.flights >= 0.05 else ""
    return f"{said}: {known.household_days:.2g} days of a household's electricity{flights}"
