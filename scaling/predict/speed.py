"""How fast a student writes on a device: a fixed cost for each token and layer, and the bytes that must be read.

Bytes over bandwidth alone over-predicts small models by a factor of several: below about 0.6 B parameters the overhead
of each layer is as long as reading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaling.accounting import Storage, decode_bytes
from scaling.errors import SpecError
from scaling.predict.devices import Device, Range
from scaling.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Forecast rate of writing one token after another.

    Attributes:
        tokens_per_s: At the device's central figures.
        low: At the slow end of all of them.
        high: At the fast end of all of them.
    """

    tokens_per_s: float
    low: float
    high: float


def decode_speed(model: ModelSpec, device: Device, *, storage: Storage = "Q8_0", position: int | None = None) -> Speed:
    """Forecast decoding speed: ``1 / (token_s + layer_s·L + bytes / bandwidth)``.

    Args:
        model: The model.
        device: Where it runs.
        storage: How its matrices are stored.
        position: Tokens in the cache, which are read as well; by default half of the model's context.
    """
    count = decode_bytes(model, storage, position=model.context // 2 if position is None else position)

    def rate(token_s: float, layer_s: float, bandwidth: float) -> float:
        return 1 / (token_s + layer_s * model.n_layers + count / bandwidth)

    token, layer, band = device.token_s, device.layer_s, device.bandwidth
    return Speed(
        tokens_per_s=rate(token.value, layer.value, band.value),
        low=rate(token.high, layer.high, band.low),
        high=rate(token.low, layer.low, band.high),
    )


@dataclass(frozen=True, kw_only=True)
class SpeedMeasurement:
    """One measured rate of a model, e.g. ``EngineRun.tokens_per_s``."""

    model: ModelSpec
    tokens_per_s: float
    storage: Storage = "Q8_0"


def calibrate(device: Device, measured: Sequence[SpeedMeasurement]) -> Device:
    """A device whose constants are those of its user's own measurements.

    Three or more models of different depth and size give all three constants (least squares of relative time errors,
    none negative). Fewer scale the device's own constants by their common factor. Ranges become the spread of the
    measurements around the result.

    Raises:
        SpecError: if nothing was measured, or a rate is not positive.
    """
    if not measured or any(point.tokens_per_s <= 0 for point in measured):
        raise SpecError(f"calibration needs measured tokens/s above 0 — got {[p.tokens_per_s for p in measured]}")
    seconds = np.array([1 / point.tokens_per_s for point in measured])
    terms = np.array([_terms(point) for point in measured])
    known = np.array([device.token_s.value, device.layer_s.value, 1 / device.bandwidth.value])
    # With fewer independent models than constants only their common scale can be told.
    if np.linalg.matrix_rank(terms) == terms.shape[1]:
        from scipy.optimize import nnls

        constants, _ = nnls(terms / seconds[:, None] * known, np.ones(len(seconds)))
        constants = np.maximum(constants, 1e-6) * known
    else:
        constants = known * np.exp(np.mean(np.log(seconds / (terms @ known))))
    ratio = seconds / (terms @ constants)
    fast, slow = min(1.0, float(ratio.min())), max(1.0, float(ratio.max()))
    token, layer, per_byte = (float(value) for value in constants)
    return replace(
        device,
        token_s=Range(token, token * fast, token * slow),
        layer_s=Range(layer, layer * fast, layer * slow),
        bandwidth=Range(1 / per_byte, 1 / (per_byte * slow), 1 / (per_byte * fast)),
        sources=(f"calibrated on {len(measured)} measured models",),
    )


def _terms(point: SpeedMeasurement) -> tuple[float, float, float]:
    """What token_s, layer_s and 1/bandwidth are multiplied with."""
    count = decode_bytes(point.model, point.storage, position=point.model.context // 2)
    return 1.0, float(point.model.n_layers), float(count)
