"""What a training costs: memory of a step, energy, CO2 equivalents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan

from scaling.accounting.model import count_parameters
from scaling.errors import SpecError
from scaling.spec import ModelSpec

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class TrainingBytes:
    """Memory of one optimizer step in float32, by what it holds.

    Gradients take the place of activations as the backward pass frees them, so the larger of the two counts.

    Attributes:
        parameters: ``4·N``.
        optimizer: AdamW's two moments, ``8·N``.
        gradients: ``4·N``.
        scaled: Copies of matrices that gains are multiplied into.
        activations: What the backward pass needs of every layer and around them.
        logits: The logits and their gradient.
    """

    parameters: int
    optimizer: int
    gradients: int
    scaled: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """Peak bytes."""
        return self.parameters + self.optimizer + max(self.gradients, self.scaled + self.activations + self.logits)


def training_bytes(model: ModelSpec, batch_size: int) -> TrainingBytes:
    """Forecast the peak memory of a training step.

    ``activations = 4·B·T·(L·(3·M + K·(6·H + 3·H_kv) + 5·F + 1.2·H·T_c) + 2·M)``, ``logits = 8.8·B·T·V`` and ``scaled =
    3.2·N_lin``; T_c are the keys that causal attention computes for a query, on average, N_lin is ``n_params_linear``.
    The counts of tensors are of this project's student as XLA compiles it for a processor, rounded from
    ``tests/benchmarks/bench_memory.py``, which prints the error of the forecast: 1 – 2 % is typical, 8 % the worst.

    Args:
        model: The model.
        batch_size: B, sequences a step.
    """
    counts, tokens = count_parameters(model), batch_size * model.context
    heads, kv_heads, k = model.n_heads, model.n_kv_heads, model.head_width
    scores = 1.2 * heads * sum((stop - start) * stop for start, stop in causal_blocks(model.context)) / model.context
    layer = 3 * model.width + k * (6 * heads + 3 * kv_heads) + 5 * model.hidden + scores
    return TrainingBytes(
        parameters=4 * counts.n_params_total,
        optimizer=8 * counts.n_params_total,
        gradients=4 * counts.n_params_total,
        scaled=round(3.2 * counts.n_params_linear),
        activations=round(4 * tokens * (model.n_layers * layer + 2 * model.width)),
        logits=round(8.8 * tokens * model.vocab_size),
    )


def causal_blocks(time: int) -> list[tuple[int, int]]:
    """Where the blocks of queries start and stop that causal attention takes, each with the keys up to its end.

    Up to four blocks of 64 queries or more: most of the upper triangle is not computed.
    """
    rows = max(64, -(-time // 4))
    return [(start, min(start + rows, time)) for start in range(0, time, rows)]


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


def _at_least(least: float, text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not least <= value < inf:
        raise SpecError(f"{name} is {text!r} — a number of at least {least:g} is needed; set it to one, or unset it")
    return value
