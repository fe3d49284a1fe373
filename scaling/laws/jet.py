"""Exact first and second derivatives of a formula written with NumPy operators.

A law is written once, as its formula. Evaluated on `Jet`s instead of arrays, the same formula also yields its
derivatives with respect to the coefficients: sparse forward mode, so a term costs only the derivatives of the
coefficients that occur in it, and whole batches of coefficient vectors (starts, bootstrap replicates) are
differentiated at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Array = np.ndarray
Pair = tuple[int, int]

# A formula makes hundreds of short-lived arrays of some hundred kilobytes. The C library returns such blocks to the
# system when they are freed, so that every next one costs a page fault for each 4 kB: most of the time of a fit. Once
# glibc has freed a block of just under 32 MiB, the most that it adapts to, it keeps smaller ones for reuse. Elsewhere
# this does nothing; the pages of the block are never touched.
np.empty(31 << 17)


class Jet(NDArrayOperatorsMixin):
    """A value with its derivatives by coefficient index.

    Attributes:
        value: float64[...].
        first: {i: d value / d theta_i}; a missing index means zero.
        second: {(i, j): d2 value / d theta_i d theta_j} with i <= j; missing means zero. None where only first
            derivatives are wanted.
    """

    __slots__ = ("value", "first", "second")

    def __init__(self, value: Array, first: dict[int, Array], second: dict[Pair, Array] | None):
        self.value, self.first, self.second = value, first, second

    @classmethod
    def variable(cls, value: Array, index: int, *, order: int = 2) -> Jet:
        """The coefficient number `index` itself, to be followed to first or second derivatives."""
        return cls(value, {index: np.ones(())}, {} if order == 2 else None)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs or ufunc not in _RULES:
            return NotImplemented
        return _RULES[ufunc](*inputs)

    def __array_function__(self, function, types, inputs, kwargs):
        if function is not np.where or kwargs:
            return NotImplemented
        mask, chosen, other = inputs
        return _add(_where(mask, chosen), _where(~mask, other))

    def __repr__(self) -> str:
        return f"Jet({self.value!r}, d/d{sorted(self.first)})"


def _linear(x: Jet, value: Array, of: Callable[[Array], Array]) -> Jet:
    """A linear function of x, given its value."""
    second = None if x.second is None else {ij: of(ddx) for ij, ddx in x.second.items()}
    return Jet(value, {i: of(dx) for i, dx in x.first.items()}, second)


def _chain(x: Jet, value: Array, slope: Array, curve: Callable[[], Array]) -> Jet:
    """g(x) from g, g' and g'' at x: (g x)_ij = g'' x_i x_j + g' x_ij."""
    result = _linear(x, value, lambda dx: slope * dx)
    if result.second is None:
        return result
    bend, order = curve(), sorted(x.first)
    for k, i in enumerate(order):
        left = bend * x.first[i]
        for j in order[k:]:
            _add_to(result.second, (i, j), left * x.first[j])
    return result


def _add_to(terms: dict, key: Any, value: Array) -> None:
    terms[key] = terms[key] + value if key in terms else value


def _scaled(x: Jet, factor: Any) -> Jet:
    """factor * x for a factor without derivatives."""
    return _linear(x, factor * x.value, lambda dx: factor * dx)


def _add(x: Any, y: Any) -> Jet:
    if not isinstance(x, Jet):
        return Jet(x + y.value, y.first, y.second)
    if not isinstance(y, Jet):
        return Jet(x.value + y, x.first, x.second)
    first = dict(x.first)
    for i, dy in y.first.items():
        _add_to(first, i, dy)
    if x.second is None or y.second is None:
        return Jet(x.value + y.value, first, None)
    second = dict(x.second)
    for ij, ddy in y.second.items():
        _add_to(second, ij, ddy)
    return Jet(x.value + y.value, first, second)


def _multiply(x: Any, y: Any) -> Jet:
    if not isinstance(x, Jet):
        return _scaled(y, x)
    if not isinstance(y, Jet):
        return _scaled(x, y)
    product = _add(_scaled(x, y.value), _scaled(y, x.value))
    product.value = x.value * y.value
    if product.second is not None:
        for i, dx in x.first.items():
            for j, dy in y.first.items():
                cross = dx * dy
                _add_to(product.second, (min(i, j), max(i, j)), 2 * cross if i == j else cross)
    return product


def _negative(x: Jet) -> Jet:
    return _linear(x, -x.value, np.negative)


def _subtract(x: Any, y: Any) -> Jet:
    return _add(x, _negative(y) if isinstance(y, Jet) else np.negative(y))


def _divide(x: Any, y: Any) -> Jet:
    return _multiply(x, _reciprocal(y) if isinstance(y, Jet) else 1.0 / np.asarray(y))


def _reciprocal(x: Jet) -> Jet:
    inverse = 1.0 / x.value
    return _chain(x, inverse, -(inverse**2), lambda: 2 * inverse**3)


def _power(x: Any, y: Any) -> Jet:
    if isinstance(y, Jet):
        # The logarithm of a constant base has the shape of the data, not of the batch, so it is cheap.
        return _exp(_multiply(y, np.log(x)))
    return _chain(x, x.value**y, y * x.value ** (y - 1), lambda: y * (y - 1) * x.value ** (y - 2))


def _exp(x: Jet) -> Jet:
    value = np.exp(x.value)
    return _chain(x, value, value, lambda: value)


def _expm1(x: Jet) -> Jet:
    slope = np.exp(x.value)
    return _chain(x, np.expm1(x.value), slope, lambda: slope)


def _log(x: Jet) -> Jet:
    slope = 1.0 / x.value
    return _chain(x, np.log(x.value), slope, lambda: -(slope**2))


def _log1p(x: Jet) -> Jet:
    slope = 1.0 / (1.0 + x.value)
    return _chain(x, np.log1p(x.value), slope, lambda: -(slope**2))


def _sqrt(x: Jet) -> Jet:
    value = np.sqrt(x.value)
    return _chain(x, value, 0.5 / value, lambda: -0.25 / value**3)


def _square(x: Jet) -> Jet:
    return _chain(x, x.value**2, 2 * x.value, lambda: np.full((), 2.0))


def _logaddexp(x: Any, y: Any) -> Jet:
    """log(e^x + e^y) = x + log1p(e^(y - x)), from the larger side so that nothing overflows."""
    gap = _subtract(y, x)
    total = np.logaddexp(0.0, gap.value)
    share = np.exp(gap.value - total)
    return _add(_chain(gap, total, share, lambda: share * (1 - share)), x)


def _select(pick: Callable[[Array, Array], Array]) -> Callable[..., Jet]:
    def rule(x, y) -> Jet:
        left = pick(getattr(x, "value", x), getattr(y, "value", y))
        return _add(_where(left, x), _where(~left, y))

    return rule


def _where(mask: Array, x: Any) -> Any:
    """x where the mask holds, else zero; x may be infinite or undefined elsewhere."""
    if not isinstance(x, Jet):
        return np.where(mask, x, 0.0)
    return _linear(x, np.where(mask, x.value, 0.0), lambda dx: np.where(mask, dx, 0.0))


def _absolute(x: Jet) -> Jet:
    return _multiply(x, np.sign(x.value))


def _matmul(x: Jet, y: Array) -> Jet:
    """The sum over the last axis of x with constant weights y."""
    return _linear(x, x.value @ y, lambda dx: np.broadcast_to(dx, x.value.shape) @ y)


_RULES: dict[np.ufunc, Callable[..., Jet]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.divide: _divide,
    np.power: _power,
    np.negative: _negative,
    np.reciprocal: _reciprocal,
    np.exp: _exp,
    np.expm1: _expm1,
    np.log: _log,
    np.log1p: _log1p,
    np.sqrt: _sqrt,
    np.square: _square,
    np.absolute: _absolute,
    np.logaddexp: _logaddexp,
    np.maximum: _select(np.greater_equal),
    np.minimum: _select(np.less_equal),
    np.fmax: _select(np.greater_equal),
    np.fmin: _select(np.less_equal),
    np.matmul: _matmul,
}
