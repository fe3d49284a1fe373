"""The argument at which a falling loss reaches a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
LOG_RANGE = (-30.0, 200.0)
"""Exponents of e between which an argument is sought: from 1e-13 to 7e86."""


def where_it_falls_to(loss: Any, of: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Argument at which a function that falls with it equals `loss`, by bisection of its logarithm.

    Args:
        loss: float64[...], broadcastable to `shape`.
        of: the function, elementwise on float64[*shape]; it is also asked for its value at infinity.
        shape: of the answer.

    Returns:
        float64[*shape], to a relative 1e-13; inf where even an infinite argument does not reach that loss.
    """
    target = np.broadcast_to(np.asarray(loss, float), shape)
    low, high = (np.full(shape, end) for end in LOG_RANGE)
    for _ in range(60):
        middle = (low + high) / 2
        above = of(np.exp(middle)) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    reachable = of(np.full(shape, np.inf)) < target
    return np.where(reachable, np.exp((low + high) / 2), np.inf)
