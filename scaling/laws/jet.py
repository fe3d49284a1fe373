"""Exact first and second derivatives of a formula written with NumPy operators.

A law is written once, as its formula. Evaluated on `Jet`s instead of arrays, the same formula also yields its
derivatives with respect to the coefficients, for whole batches of coefficient vectors (starts, bootstrap replicates) at
once. First derivatives go forward, sparsely: a term costs only the derivatives of the coefficients that occur in it.
Second derivatives are wanted only in sum over the runs, so they go backward: each operation remembers its operands, and
`Jet.curvature` passes weights from the loss down to them, adding up the bend of each operation on the way. No array of
second derivatives by run is ever made.

**Source:** Griewank and Walther 2008, Evaluating Derivatives, chapters 3 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Array = np.ndarray
ONE = np.ones(())
"""The derivative of a coefficient by itself; products with it are not computed."""
Slopes = dict[int, Array]
"""{i: d value / d theta_i}; a missing index means zero."""

# A formula makes hundreds of short-lived arrays of some hundred kilobytes. The C library returns such blocks to the
# system when they are freed, so that every next one costs a page fault for each 4 kB: most of the time of a fit. Once
# glibc has freed a block of just under 32 MiB, the most that it adapts to, it keeps smaller ones for reuse. Elsewhere
# this does nothing; the pages of the block are never touched.
np.empty(31 << 17)


class Jet(NDArrayOperatorsMixin):
    """A value with its derivatives by coefficient index.

    Attributes:
        value: float64[...]; its last axis is that of the runs, of length one where it is the same for all.
        first: {i: d value / d theta_i}, broadcastable to the value.
        operands: (operand, slope) of the operation that made it; the slope is None where it is one.
        bends: (left, right, curve): the second derivative is curve * left_i * right_j, symmetrised where left and right
            differ, besides what the operands contribute. None where only first derivatives are wanted.
    """

    __slots__ = ("value", "first", "operands", "bends")

    def __init__(
        self,
        value: Array,
        first: Slopes,
        operands: Sequence[tuple[Jet, Any]] = (),
        bends: tuple[tuple[Slopes, Slopes, Any], ...] | None = None,
    ):
        self.value, self.first, self.bends = value, first, bends
        # Only operands that bend somewhere below need weights.
        kept = [(x, slope) for x, slope in operands if x.bends or x.operands] if bends is not None else []
        self.operands: list[tuple[Jet, Any]] = kept

    @classmethod
    def variable(cls, value: Array, index: int, *, order: int = 2) -> Jet:
        """The coefficient number `index` itself, to be followed to second, to first or (0) to no derivatives."""
        return cls(value, {index: ONE} if order else {}, (), () if order == 2 else None)

    def curvature(self, weights: Array, count: int) -> Array:
        """sum_n weights_n d2 value_n / d theta_i d theta_j.

        Args:
            weights: float64[..., n_runs], of the shape of the value.
            count: number of coefficients k.

        Returns:
            float64[..., k, k].
        """
        total = np.zeros((*weights.shape[:-1], count, count))
        passed: dict[int, Array] = {id(self): weights}
        for node in _operands_last(self):
            own = passed.pop(id(node))
            for left, right, curve in node.bends or ():
                _add_bends(total, own if curve is None else own * curve, left, right)
            for x, slope in node.operands:
                part = _summed(own, slope, x.value)
                passed[id(x)] = passed[id(x)] + part if id(x) in passed else part
        return total

    # On a small batch NumPy's way to the rule of an operator takes longer than the operation.

    def __add__(self, other: Any) -> Jet:
        return _add(self, other)

    def __mul__(self, other: Any) -> Jet:
        return _multiply(self, other)

    def __neg__(self) -> Jet:
        return _negative(self)

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


def _operands_last(root: Jet) -> list[Jet]:
    """All operations below one, each before its operands."""
    order: list[Jet] = []
    _visit(root, order, set())
    return order[::-1]


def _visit(node: Jet, order: list[Jet], seen: set[int]) -> None:
    """Append a node after all that is below it.

    No closure: a function that calls itself from its own scope is a reference cycle, and would keep every array of the
    formula from reuse until the garbage collector comes by.
    """
    seen.add(id(node))
    for x, _ in node.operands:
        if id(x) not in seen:
            _visit(x, order, seen)
    order.append(node)


def _add_bends(total: Array, weights: Array, left: Slopes, right: Slopes) -> None:
    """Add sum_n weights left_i right_j to the matrix, and its transpose where left and right differ."""
    for i, x in left.items():
        # A slope that is the same for all runs leaves the sum.
        alike = x.ndim == 0 or x.shape[-1] == 1
        part = weights if alike else weights * x
        outside = x if x.ndim == 0 else x[..., 0]
        for j, y in right.items():
            if left is right and j < i:
                continue
            bend = _dot(part, y)
            if alike and x is not ONE:
                bend = bend * outside
            total[..., i, j] += bend
            if i != j or left is not right:
                total[..., j, i] += bend


def _dot(weights: Array, slope: Array) -> Array:
    """sum_n weights_n slope_n: [..., n] -> [...]; either may be the same for all runs."""
    if slope.ndim == 0:
        return weights.sum(-1) * slope
    if slope.shape[-1] == 1:
        return weights.sum(-1) * slope[..., 0]
    if slope.ndim == 1:
        return weights @ slope
    return np.vecdot(weights, slope)


def _summed(weights: Array, slope: Any, value: Array) -> Array:
    """weights * slope, summed over the runs where the operand is the same for all of them."""
    if value.shape[-1] != 1 or weights.shape[-1] == 1:
        return weights if slope is None else weights * slope
    return _dot(weights, np.asarray(1.0 if slope is None else slope))[..., None]


def _linear(x: Jet, value: Array, slope: Any) -> Jet:
    """slope * x for a slope without derivatives."""
    first = {i: np.asarray(slope) if dx is ONE else slope * dx for i, dx in x.first.items()}
    return Jet(value, first, ((x, slope),), None if x.bends is None else ())


def _chain(x: Jet, value: Array, slope: Array, curve: Callable[[], Array]) -> Jet:
    """g(x) from g, g' and g'' at x: (g x)_ij = g'' x_i x_j + g' x_ij."""
    result = _linear(x, value, slope)
    if result.bends is not None:
        result.bends = ((x.first, x.first, curve()),)
    return result


def _add(x: Any, y: Any) -> Jet:
    if not isinstance(x, Jet):
        return Jet(x + y.value, y.first, ((y, None),), None if y.bends is None else ())
    if not isinstance(y, Jet):
        return _add(y, x)
    first = dict(x.first)
    for i, dy in y.first.items():
        first[i] = first[i] + dy if i in first else dy
    return Jet(x.value + y.value, first, ((x, None), (y, None)), _both(x, y, ()))


def _both(x: Jet, y: Jet, bends: tuple) -> tuple | None:
    return None if x.bends is None or y.bends is None else bends


def _multiply(x: Any, y: Any) -> Jet:
    if not isinstance(x, Jet):
        return _linear(y, x * y.value, x)
    if not isinstance(y, Jet):
        return _linear(x, x.value * y, y)
    value = x.value * y.value
    # The derivative of an amplitude that is searched by its logarithm is the amplitude: the product is there already.
    first = {i: value if dx is x.value else dx * y.value for i, dx in x.first.items()}
    for i, dy in y.first.items():
        part = value if dy is y.value else x.value * dy
        first[i] = first[i] + part if i in first else part
    return Jet(value, first, ((x, y.value), (y, x.value)), _both(x, y, ((x.first, y.first, None),)))


def _negative(x: Jet) -> Jet:
    return _linear(x, -x.value, -1.0)


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
    first = {i: np.where(mask, dx, 0.0) for i, dx in x.first.items()}
    return Jet(np.where(mask, x.value, 0.0), first, ((x, mask.astype(float)),), None if x.bends is None else ())


def _absolute(x: Jet) -> Jet:
    return _multiply(x, np.sign(x.value))


def _matmul(x: Jet, y: Array) -> Any:
    """The sum over the last axis of x with constant weights y; only to first order: that axis is not of the runs."""
    if x.bends is not None:
        return NotImplemented
    return Jet(x.value @ y, {i: np.broadcast_to(dx, x.value.shape) @ y for i, dx in x.first.items()})


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
