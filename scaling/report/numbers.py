"""Losses, rates and energies as a person reads them; plain numbers, bytes and times are in `scaling.numbers`."""

from __future__ import annotations

import math
import os

from scaling.numbers import duration


def loss(value: float) -> str:
    """Nats/token to four digits; two would hide an int8 difference, six would claim what no run can resolve."""
    return "not identified" if math.isnan(value) else f"{value:.4f}"


def rate(per_s: float) -> str:
    """Tokens/s: 0.52, 5.8, 43, 1,033."""
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.2g}"


def foreseen(seconds: float) -> str:
    """A time that is a guess, in whole seconds."""
    return duration(round(seconds))


def energy(kwh: float) -> str:
    """kWh and CO2 equivalents, in units that a person knows where they come to a twentieth of one."""
    from scaling.accounting import EnergySettings, Familiar

    co2e_kg = EnergySettings.from_environment(os.environ).co2e_kg(kwh)
    known, said = Familiar.of(kwh, co2e_kg), f"{kwh:.3g} kWh, {co2e_kg:.3g} kg CO2e"
    if known.household_days < 0.05:
        return said
    flights = f" or {known.flights:.2g} flights New York – San Francisco and back" if known.flights >= 0.05 else ""
    return f"{said}: {known.household_days:.2g} days of a household's electricity{flights}"
