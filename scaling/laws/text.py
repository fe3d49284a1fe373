"""A formula as people write it, from the code that computes it.

A law is written once, as its formula. Evaluated on `Text` operands instead of numbers, the same formula prints itself:
``p.A * n**-p.alpha`` becomes ``A/N^alpha``. Products are written by juxtaposition, ``e^(...)`` is the exponential, and
sums of logarithms inside an exponential are written as the powers that they are: ``exp(nu * log(x))`` is ``x^nu``.
What only keeps a formula finite is not printed: a tiny constant, and the second operand of ``np.fmax`` and ``np.fmin``
(``np.maximum`` and ``np.minimum`` are part of the law).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

GUARD = 1e-9
"""A constant this small only keeps a formula from dividing by zero or taking the logarithm of zero: it is not
printed."""


@dataclass(frozen=True)
class Word:
    """What stands alone: a symbol, a number, or a function of other formulas.

    Attributes:
        shape: how it is written, with ``{}`` for each argument.
        arguments: formulas inside it.
        meaning: what the symbol abbreviates, if anything.
    """

    shape: str
    arguments: tuple[Text, ...] = ()
    meaning: Text | None = None

    def __str__(self) -> str:
        return self.shape.format(*self.arguments)


@dataclass(frozen=True)
class Factor:
    """A power; without an exponent, the base itself."""

    base: Word | Text
    exponent: Text | None = None

    @property
    def is_below(self) -> bool:
        """Whether it is written under a fraction bar: it has a negative exponent, and is no exponential."""
        return self.exponent is not None and self.exponent.is_negative and str(self.base) not in ("e", "10")

    @property
    def inverse(self) -> Factor:
        """One over it."""
        exponent = _negative(Text.number(1.0) if self.exponent is None else self.exponent)
        return Factor(self.base, None if str(exponent) == "1" else exponent)

    def __str__(self) -> str:
        base = str(self.base)
        if isinstance(self.base, Text) and (self.base.is_negative or not self.base.is_word):
            base = f"({base})"
        if self.exponent is None:
            return base
        above = str(self.exponent)
        return f"{base}^{above}" if self.exponent.is_word else f"{base}^({above})"


@dataclass(frozen=True)
class Term:
    """A signed product of factors."""

    sign: int
    factors: tuple[Factor, ...]

    def __str__(self) -> str:
        """Without the sign."""
        above = [str(f) for f in self.factors if not f.is_below]
        below = [str(f.inverse) for f in self.factors if f.is_below]
        if len(self.factors) == 1 and below and self.factors[0].inverse.exponent is not None:
            return str(self.factors[0])  # N^-alpha rather than 1/N^alpha
        top = _side_by_side(above) or "1"
        if not below:
            return top
        return f"{top}/{below[0]}" if len(below) == 1 else f"{top}/({_side_by_side(below)})"


def _side_by_side(factors: list[str]) -> str:
    """A product; two numbers need a sign between them."""
    return reduce(lambda left, right: f"{left}{'*' if right[0].isdigit() else ' '}{right}", factors) if factors else ""


class Text(NDArrayOperatorsMixin):
    """A formula: a sum of terms. No term is zero; a term without factors is one."""

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[Term, ...]):
        self.terms = terms

    @classmethod
    def symbol(cls, name: str, meaning: Text | None = None) -> Text:
        """A name, with what it abbreviates."""
        return cls((Term(1, (Factor(Word(name.replace("{", "{{").replace("}", "}}"), (), meaning)),)),))

    @classmethod
    def call(cls, shape: str, *arguments: Text) -> Text:
        """A function, written as `shape` says."""
        return cls((Term(1, (Factor(Word(shape, arguments)),)),))

    @classmethod
    def number(cls, value: float) -> Text:
        """Four significant digits."""
        if value == 0:
            return cls(())
        sign = 1 if value > 0 else -1
        return cls((Term(sign, () if abs(value) == 1 else (Factor(Word(f"{abs(value):.4g}")),)),))

    @property
    def is_negative(self) -> bool:
        """Whether it begins with a minus sign."""
        return bool(self.terms) and self.terms[0].sign < 0

    @property
    def is_word(self) -> bool:
        """Whether it is one symbol, number or call, so that it needs no brackets."""
        if not self.terms:
            return True
        factors = self.terms[0].factors
        plain = not factors or (isinstance(factors[0].base, Word) and factors[0].exponent is None)
        return len(self.terms) == 1 and len(factors) <= 1 and plain

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        # A sum begins with what is added, where anything is.
        first, *others = sorted(self.terms, key=lambda term: term.sign < 0) if self.is_negative else self.terms
        signed = [f"{' - ' if term.sign < 0 else ' + '}{term}" for term in others]
        return ("-" if first.sign < 0 else "") + str(first) + "".join(signed)

    def __repr__(self) -> str:
        return f"Text({self})"

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs or ufunc not in _RULES:
            return NotImplemented
        return _RULES[ufunc](*(_text(value) for value in inputs))

    def __array_function__(self, function, types, inputs, kwargs):
        if function is not np.where or kwargs:
            return NotImplemented
        condition, chosen, other = (_text(value) for value in inputs)
        return Text.call("({} if {} else {})", chosen, condition, other)


def let(name: str, value: Any) -> Any:
    """A part of a formula that has a name of its own: the value itself, printed under that name and explained after
    the formula.
    """
    return Text.symbol(name, value) if isinstance(value, Text) else value


def indicator(column: Any, code: int, word: str) -> Any:
    """One where a column of codes is `code`, else zero; printed with the word that the code stands for."""
    if isinstance(column, Text):
        return Text.symbol(f"[{column} = {word}]")
    return (column == code).astype(float)


def written_out(formula: Text) -> str:
    """The formula, then the meaning of each abbreviation in it, in an order in which each uses only earlier ones."""
    meanings: dict[str, str] = {}
    _collect(formula, meanings)
    explained = "; ".join(f"{name} = {meaning}" for name, meaning in meanings.items())
    return f"{formula}, where {explained}" if explained else str(formula)


def _collect(formula: Text, meanings: dict[str, str]) -> None:
    """Add the abbreviations below a formula, innermost first."""
    for factor in (factor for term in formula.terms for factor in term.factors):
        inside = factor.base.arguments if isinstance(factor.base, Word) else (factor.base,)
        for part in (*inside, *(() if factor.exponent is None else (factor.exponent,))):
            _collect(part, meanings)
        if isinstance(factor.base, Word) and factor.base.meaning is not None:
            _collect(factor.base.meaning, meanings)
            meanings.setdefault(str(factor.base), str(factor.base.meaning))


def _text(value: Any) -> Text:
    """An operand of a formula; constants are numbers."""
    if isinstance(value, Text):
        return value
    return Text.number(0.0 if abs(float(value)) < GUARD else float(value))


def _add(x: Text, y: Text) -> Text:
    return Text(x.terms + y.terms)


def _negative(x: Text) -> Text:
    return Text(tuple(Term(-term.sign, term.factors) for term in x.terms))


def _multiply(x: Text, y: Text) -> Text:
    if not x.terms or not y.terms:
        return Text(())
    left, right = _as_term(x), _as_term(y)
    return _product(left.sign * right.sign, left.factors + right.factors)


def _product(sign: int, factors: tuple[Factor, ...]) -> Text:
    """A term; a single bracket is what is inside it."""
    if sign > 0 and len(factors) == 1 and factors[0].exponent is None and isinstance(factors[0].base, Text):
        return factors[0].base
    return Text((Term(sign, factors),))


def _as_term(x: Text) -> Term:
    """A sum is one factor of a product."""
    return x.terms[0] if len(x.terms) == 1 else Term(1, (Factor(x),))


def _divide(x: Text, y: Text) -> Text:
    below = _as_term(y)
    return _multiply(x, Text((Term(below.sign, tuple(factor.inverse for factor in below.factors)),)))


def _power(x: Text, y: Text) -> Text:
    if str(y) == "1" or str(x) == "1":
        return x
    if not y.terms:
        return Text.number(1.0)
    term = _as_term(x)
    if term.sign > 0 and len(term.factors) == 1 and term.factors[0].exponent is None:
        return Text((Term(1, (Factor(term.factors[0].base, y),)),))
    return Text((Term(1, (Factor(x, y),)),))


def _log(x: Text) -> Text:
    return Text.call(LOG, x)


LOG = "log({})"


def _logarithm_in(term: Term) -> Factor | None:
    """The factor of a term that is a logarithm, or a sum of logarithms."""
    for factor in term.factors:
        base = factor.base
        if factor.exponent is None and (
            base.shape == LOG if isinstance(base, Word) else all(_logarithm_in(inner) for inner in base.terms)
        ):
            return factor
    return None


def _exp(x: Text) -> Text:
    """e^x, with the terms of x that are logarithms as powers: e^(c log a + b) = a^c e^b."""
    plain = Text(tuple(term for term in x.terms if not _logarithm_in(term)))
    powers = [_power_of_logarithm(term) for term in x.terms if _logarithm_in(term)]
    exponential = [_power(Text.symbol("e"), plain)] if plain.terms else []
    return reduce(_multiply, [*powers, *exponential], Text.number(1.0))


def _power_of_logarithm(term: Term) -> Text:
    """e^(c log a) = a^c."""
    factor = _logarithm_in(term)
    assert factor is not None  # the caller has looked
    inside = factor.base.arguments[0] if isinstance(factor.base, Word) else _exp(factor.base)
    return _power(inside, _product(term.sign, tuple(other for other in term.factors if other is not factor)))


def _as_call(shape: str) -> Callable[..., Text]:
    return lambda *arguments: Text.call(shape, *arguments)


_RULES: dict[np.ufunc, Callable[..., Text]] = {
    np.add: _add,
    np.subtract: lambda x, y: _add(x, _negative(y)),
    np.multiply: _multiply,
    np.divide: _divide,
    np.power: _power,
    np.negative: _negative,
    np.exp: _exp,
    np.expm1: lambda x: _add(_exp(x), Text.number(-1.0)),
    np.log: _log,
    np.log1p: lambda x: _log(_add(Text.number(1.0), x)),
    np.log10: _as_call("log10({})"),
    np.sqrt: lambda x: _power(x, Text.number(0.5)),
    np.square: lambda x: _power(x, Text.number(2.0)),
    np.absolute: _as_call("abs({})"),
    np.logaddexp: lambda x, y: _log(_add(_exp(x), _exp(y))),
    np.maximum: _as_call("max({}, {})"),
    np.minimum: _as_call("min({}, {})"),
    np.fmax: lambda x, guard: x,
    np.fmin: lambda x, guard: x,
    np.greater: _as_call("{} > {}"),
    np.less: _as_call("{} < {}"),
    np.matmul: lambda x, y: Text.call("sum_k({})", _multiply(x, y)),
}
"""How each operation is written."""
