"""How fast a student writes and reads on a device, and what energy that takes.

Writing is bound by a fixed cost for each token and layer and by the bytes that must be read: bytes over bandwidth alone
over-predicts small models by a factor of several, because below about 0.6 B parameters the overhead of each layer is as
long as reading it. Reading a prompt is bound by arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaling.accounting import Storage, count_parameters, decode_bytes, forward_flops, kv_cache_bytes
from scaling.dimensions import Dimensions
from scaling.predict.phones.devices import Device, Range

JOULES_PER_PARAMETER = Range(
    1e-10,
    6.4e-11,
    1e-10,
    "published",
    "0.1 J a token for each 10⁹ parameters: Liu et al. 2024 (MobileLLM), arXiv 2402.14905, section 1; least: "
    "Gemma-4-E2B (2.3 · 10⁹ parameters at work) at 0.147 J on iPhone 17 Pro, LiteRT-LM, of the whole phone with its "
    "screen on (john-rocky/edge-llm-bench, methodology/energy-ios.md)",
)
"""Energy of one written token for each weight that it is multiplied with, joules."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Forecast rate of writing one token after another.

    Attributes:
        tokens_per_s: At the device's central figures.
        low: At the slow end of all of them.
        high: At the fast end of all of them.
        engine: Whose figures these are; empty in files of before 2026-11-27.
    """

    tokens_per_s: float
    low: float
    high: float
    engine: str = ""


def decode_speed(
    model: Dimensions,
    device: Device,
    *,
    storage: Storage = "Q8_0",
    position: int | None = None,
    engine: str | None = None,
    unit: str | None = None,
) -> Speed:
    """Forecast decoding speed: ``1 / (token_s + layer_s·L + bytes/bandwidth + cache_bytes/cache_bandwidth)``.

    Args:
        model: The model.
        device: Where it runs.
        storage: How its matrices are stored.
        position: Tokens in the cache, which are read as well; by default half of the model's context.
        engine: Which engine writes; by default the first that the device knows.
        unit: ``cpu``, ``gpu`` or ``npu``; likewise.

    Raises:
        SpecError: nothing is known of that engine there.
    """
    # On average half of the cache is filled.
    filled = model.context // 2 if position is None else position
    known = device.speed(engine, unit)
    count, cache = decode_bytes(model, storage, position=filled), kv_cache_bytes(model, filled, value_bytes=4)
    seconds = known.seconds(model.n_layers, count, cache)
    return Speed(tokens_per_s=1 / seconds.value, low=1 / seconds.high, high=1 / seconds.low, engine=known.engine)


def prompt_seconds(
    model: Dimensions, device: Device, n_tokens: int, *, engine: str | None = None, unit: str | None = None
) -> Range | None:
    """Forecast time to read a prompt: ``n_tokens · forward_flops(model, n_tokens) / flops_per_s``.

    Returns:
        Seconds; None where nobody published how fast this engine reads there.

    Raises:
        SpecError: nothing is known of that engine there.
    """
    speed = device.speed(engine, unit)
    if speed.flops_per_s is None:
        return None
    flops, rate = n_tokens * forward_flops(model, n_tokens), speed.flops_per_s
    return Range(flops / rate.value, flops / rate.high, flops / rate.low, rate.basis, rate.source)


def joules_per_token(model: Dimensions) -> Range:
    """Energy of one written token on a phone: ``JOULES_PER_PARAMETER · n_params_linear``.

    The type of quantization hardly changes it (arXiv 2603.26603, on Galaxy S25 Ultra), so it is no argument.
    """
    return JOULES_PER_PARAMETER.times(count_parameters(model).n_params_linear)
