"""Energy of a computation, its CO2 equivalents, and both in units that a person knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan

from scaling.errors import SpecError

JOULES_PER_KWH = 3.6e6

HOUSEHOLD_KWH_PER_DAY = 10_715 / 365
"""Of an average residential customer in the US, 2020; US Energy Information Administration, FAQ 97."""

FLIGHT_KG = 1984 * 0.45359237
"""CO2 equivalents of one passenger, New York – San Francisco and back; Strubell et al. 2019, arXiv 1906.02243."""


def training_kwh(flops: float, *, flops_per_s: float, watts: float, pue: float = 1.0) -> float:
    """Energy of a computation from its rate: ``flops / flops_per_s · watts · pue / 3.6e6``.

    Args:
        flops: FLOPs of the whole computation.
        flops_per_s: Sustained rate of the device.
        watts: Average power of the device at that rate.
        pue: Power usage effectiveness of the building, 1 for none.

    Source: Patterson et al. 2021, arXiv 2104.10350.
    """
    return flops / flops_per_s * watts * pue / JOULES_PER_KWH


CORE_WATTS = 12.0
"""A busy processor core where nothing is known: default of the tool of Lannelongue et al. 2021, arXiv 2007.07610."""

ACCELERATOR_WATTS = {"gpu": 330.0, "tpu": 289.0}
"""An accelerator and its share of the host, training: V100, TPU v3; Patterson et al. 2021, arXiv 2104.10350."""

GRID_KG_PER_KWH = 0.429
"""Carbon intensity of the average US grid; Patterson et al. 2021, arXiv 2104.10350."""


@dataclass(frozen=True, kw_only=True)
class EnergySettings:
    """What turns work into kWh where nothing measures it, and kWh into CO2 equivalents.

    Attributes:
        watts: Power of the machine at full load, of each accelerator where it has some; None for the defaults above.
        pue: Power usage effectiveness of the building: 1 for a desk, about 1.1 – 1.6 for a data centre.
        kg_per_kwh: Carbon intensity of the electricity.
    """

    watts: float | None = None
    pue: float = 1.0
    kg_per_kwh: float = GRID_KG_PER_KWH

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> EnergySettings:
        """Read ``SCALING_WATTS``, ``SCALING_PUE`` and ``SCALING_KG_PER_KWH``.

        Raises:
            SpecError: if one is not a number, negative, or a PUE below 1.
        """
        least = {"watts": 0.0, "pue": 1.0, "kg_per_kwh": 0.0}
        names = {field: f"SCALING_{field.upper()}" for field in least}
        given = {field: environment[name] for field, name in names.items() if environment.get(name)}
        return cls(**{field: _at_least(least[field], text, names[field]) for field, text in given.items()})

    def core_watts(self, n_cores: int) -> float:
        """Watts of one busy core of a machine with ``n_cores``."""
        return CORE_WATTS if self.watts is None else self.watts / n_cores

    def accelerator_watts(self, platform: str) -> float:
        """Watts of one accelerator of a jax platform."""
        return ACCELERATOR_WATTS.get(platform, ACCELERATOR_WATTS["gpu"]) if self.watts is None else self.watts

    def kwh(self, joules: float) -> float:
        """Energy drawn by the building for what the devices used."""
        return joules * self.pue / JOULES_PER_KWH

    def co2e_kg(self, kwh: float) -> float:
        """CO2 equivalents of an energy."""
        return kwh * self.kg_per_kwh


@dataclass(frozen=True, kw_only=True)
class Familiar:
    """An energy in units that a person knows.

    Attributes:
        household_days: Days of an average household's electricity.
        flights: Passengers from New York to San Francisco and back whose flight has the same CO2 equivalents.
    """

    household_days: float
    flights: float

    @classmethod
    def of(cls, kwh: float, co2e_kg: float) -> Familiar:
        """``kwh / HOUSEHOLD_KWH_PER_DAY`` and ``co2e_kg / FLIGHT_KG``."""
        return cls(household_days=kwh / HOUSEHOLD_KWH_PER_DAY, flights=co2e_kg / FLIGHT_KG)


def _at_least(least: float, text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not least <= value < inf:
        raise SpecError(f"{name} is {text!r} — a number of at least {least:g} is needed; set it to one, or unset it")
    return value
