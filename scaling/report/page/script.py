"""A law's formula as JavaScript, from the code that computes it.

A law is written once, as its formula. Evaluated on `Script` operands instead of numbers, the same formula becomes calls
of the page's arithmetic, ``o.add(p[0], o.div(p[1], o.pow(x.n, p[3])))``, which knows numbers and numbers with their
derivatives: from these a page has the doubt of a forecast as Python has it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from scaling.errors import SpecError
from scaling.laws.law import ScalingLaw


class Script(NDArrayOperatorsMixin):
    """A part of a formula.

    Args:
        code: JavaScript that has its value.
    """

    __slots__ = ("code",)

    def __init__(self, code: str):
        self.code = code

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs or ufunc not in _NAMES:
            return NotImplemented
        return _call(_NAMES[ufunc], inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, kwargs: Any) -> Any:
        return NotImplemented if function is not np.where or kwargs else _call("where", inputs)

    def astype(self, dtype: Any) -> Script:
        """A truth is 1 or 0 in the page already."""
        return self


def formula_of(law: ScalingLaw) -> str:
    """The body of a JavaScript function of the arithmetic ``o``, coefficients ``p`` and columns ``x``.

    Raises:
        SpecError: the formula holds what the page's arithmetic does not know.
    """
    p = SimpleNamespace(**{name: Script(f"p[{i}]") for i, name in enumerate(law.names)})
    x = SimpleNamespace(**{name: Script(f"x.{name}") for name in law.columns})
    try:
        return _code(law.formula(p, x))
    except TypeError as error:
        raise SpecError(f"the law {law.label} cannot be written as a page: {error}") from error


def _call(name: str, inputs: Any) -> Script:
    return Script(f"o.{name}({','.join(map(_code, inputs))})")


def _code(value: Any) -> str:
    if isinstance(value, Script):
        return value.code
    number = float(value)
    return repr(number) if np.isfinite(number) else ("Infinity" if number > 0 else "-Infinity")


_NAMES: dict[np.ufunc, str] = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.divide: "div",
    np.power: "pow",
    np.negative: "neg",
    np.exp: "exp",
    np.expm1: "expm1",
    np.log: "log",
    np.log1p: "log1p",
    np.log10: "log10",
    np.sqrt: "sqrt",
    np.square: "square",
    np.absolute: "abs",
    np.logaddexp: "logaddexp",
    np.maximum: "max",
    np.minimum: "min",
    np.fmax: "fmax",
    np.fmin: "fmin",
    np.greater: "gt",
    np.less: "lt",
    np.equal: "eq",
}
"""What each operation is called in arithmetic.js."""
