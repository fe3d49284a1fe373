"""Arithmetic and comparisons over the columns of a table, as `--map` and `--where` say them.

Expressions are read by a whitelist of syntax: no code of a table or of a command line is ever executed. Numbers are
float64 before any arithmetic, whatever type the table stores them in, so that no integer wraps; a result that is no
number where its operands were numbers is an error that names the row. Integers that are only compared with integers
stay what they are, for a float tells no two apart above 2^53.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import reduce
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from scaling.errors import RecordError
from scaling.registry import did_you_mean
from scaling.tables.counts import all_counts
from scaling.tables.truth import Truth, all_of, any_of

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
LONGEST = 2000
"""Characters of an expression."""
DEEPEST = 40
"""Operations inside operations; also the most terms of a sum that is written without brackets."""
ALLOWED = "column names, numbers, 'text', + - * / ** %, comparisons, in [...], and, or, not, log log10 exp sqrt abs"

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "log": np.log,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
_ARITHMETIC: dict[type, Callable[..., Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.Mod: np.mod,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
}
_JOINED: dict[type, Callable[[list[Truth]], Truth]] = {
    ast.BitAnd: all_of,
    ast.BitOr: any_of,
    ast.And: all_of,
    ast.Or: any_of,
}
_ORDER: dict[type, Callable[[Array, Array], Array]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}


def evaluate(table: pd.DataFrame, expression: str) -> Array:
    """Value of an expression for every row of a table.

    Args:
        table: its columns are the names; odd names stand in backticks.
        expression: arithmetic, comparisons, and/or/not, in, log, log10, exp, sqrt, abs.

    Returns:
        float64[n_rows], bool[n_rows] of a condition, or object[n_rows] of a column of text (None where it is missing).
        A missing number is NaN, and no condition holds of it but `!=` and `not in`; `not` of an unknown is unknown.

    Raises:
        RecordError: an unknown column, anything else than the above, a result beyond the numbers, or an expression
            longer or deeper than a person writes.
    """
    if expression in table.columns:
        return column_values(table[expression])
    value = _value(_Reader(table, expression))
    return np.broadcast_to(value.surely if isinstance(value, Truth) else value, (len(table),)).copy()


def could_hold(table: pd.DataFrame, condition: str) -> Array:
    """Whether a condition may come to hold of each row once its empty cells are filled in: bool[n_rows].

    Args:
        table: what is known so far.
        condition: as `evaluate` takes it.

    Raises:
        RecordError: as `evaluate`, or if it is no condition.
    """
    value = _value(_Reader(table, condition, open=True))
    if not isinstance(value, Truth):
        raise RecordError(no_condition(condition))
    return np.broadcast_to(value.possibly, (len(table),)).copy()


def columns_named(expression: str, table: pd.DataFrame | None = None) -> list[str]:
    """Columns that an expression names; of a table that has a column of that very name, this one."""
    if table is not None and expression in table.columns:
        return [expression]
    stand_ins = _quoted(expression)
    return [stand_ins.get(node.id, node.id) for node in ast.walk(_syntax(expression)) if _is_column(node)]


def as_written(column: str, columns: Collection[str]) -> str:
    """A column, or an expression over columns of a table, as a part of an expression: in backticks or brackets."""
    if column.isascii() and column.isidentifier() and not iskeyword(column):
        return column
    return f"`{column}`" if column in columns and "`" not in column else f"({column})"


def no_condition(expression: str) -> str:
    """Sentence that refuses numbers as a filter."""
    return f"the filter {_short(expression)} gives numbers, not true or false: write a comparison, as 'n > 1e7'"


def _value(reader: _Reader) -> Any:
    """The value of a whole expression."""
    try:
        return reader.value(_syntax(reader.text))
    except RecordError:
        raise
    except Exception as error:
        # The one boundary: whatever reading or arithmetic raises, the expression is at fault.
        raise RecordError(
            f"cannot evaluate {_short(reader.text)} ({type(error).__name__}: {error}); allowed are {ALLOWED}"
        ) from error


def readable(expression: str) -> str:
    """The same expression, where it can be read; whether its columns exist, a table alone can say.

    Raises:
        RecordError: if it is no expression, or one longer or deeper than a person writes.
    """
    _syntax(expression)
    return expression


def missing_column(name: str, columns: list[str]) -> str:
    """Sentence that says which columns there are, nearest name first."""
    if not columns:
        return "the table has no columns at all, as one of no runs"
    names = ", ".join(str(column) for column in columns)
    close = did_you_mean(name, columns)
    return f"the table has no such column; it has {names}{close if 'did you mean' in close else ''}"


def column_values(column: pd.Series) -> Array:
    """A column as float64, as bool, or as text with None for what is missing."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return column.fillna(False).to_numpy(bool)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    values = column.astype(object).to_numpy(copy=True)
    values[column.isna().to_numpy()] = None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None):
        return np.array([_as_float(value, column) for value in values], np.float64)
    return values


def _as_float(value: float | None, column: pd.Series) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError as error:
        raise RecordError(
            f"column {column.name!r} holds {str(value)[:20]}…, which no float holds; leave such rows out of the table"
        ) from error


def _quoted(text: str) -> dict[str, str]:
    """Stand-ins for the names in backticks, which are no Python names."""
    return {f"_quoted_{i}_": name for i, name in enumerate(re.findall(r"`([^`]*)`", text))}


def _syntax(text: str) -> ast.expr:
    """The syntax of an expression, no longer and no deeper than allowed."""
    if len(text) > LONGEST:
        raise RecordError(f"{_short(text)} has {len(text)} characters; allowed are {LONGEST}: shorten it")
    plain = text
    for stand_in, name in _quoted(text).items():
        plain = plain.replace(f"`{name}`", stand_in)
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or str(error) or "nested too deep"
        raise RecordError(
            f"cannot read the expression {_short(text)}: {reason}; put column names with spaces in backticks"
        ) from error
    if (depth := _depth(tree)) > DEEPEST:
        raise RecordError(
            f"{_short(text)} is {depth} operations deep; allowed are {DEEPEST}: add columns of parts to the "
            "table, or map them one after another"
        )
    return tree


@dataclass(frozen=True)
class _Reader:
    """One expression over one table; ``open`` where a cell that is empty may still be filled with anything."""

    table: pd.DataFrame
    text: str
    open: bool = False

    @property
    def quoted(self) -> dict[str, str]:
        return _quoted(self.text)

    def value(self, node: ast.AST) -> Any:
        """Value of one node of the whitelisted syntax: float64, text or Truth, of every row or one for all."""
        match node:
            case ast.Constant(value=bool() as truth):
                return Truth.of(np.array(truth))
            case ast.Constant(value=int() | float() as number):
                return self._finite(np.float64(number), node)
            case ast.Constant(value=str() as text):
                # Backticks inside quotes are part of the text.
                for stand_in, name in self.quoted.items():
                    text = text.replace(stand_in, f"`{name}`")
                return np.asarray(text, object)
            case ast.Name(id=name):
                return self._column(self.quoted.get(name, name))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _ARITHMETIC:
                return self._compute(_ARITHMETIC[type(op)], node, operand)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return ~self._condition(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._compute(_ARITHMETIC[type(op)], node, left, right)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _JOINED:
                return _JOINED[type(op)]([self._condition(left), self._condition(right)])
            case ast.BoolOp(op=op, values=values):
                return _JOINED[type(op)]([self._condition(value) for value in values])
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare([left, *others], ops)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
                return self._compute(_FUNCTIONS[name], node, argument)
        raise RecordError(f"the expression {_short(self.text)} contains {_source(node)}: allowed are {ALLOWED}")

    def _column(self, name: str) -> Array | Truth:
        if name not in self.table.columns:
            raise RecordError(f"{_short(self.text)} names {name!r}: {missing_column(name, list(self.table.columns))}")
        values = column_values(self.table[name])
        return Truth.of(values, self.table[name].notna().to_numpy()) if values.dtype == bool else values

    def _compute(self, operation: Callable[..., Array], node: ast.AST, *operands: ast.AST) -> Array:
        """Arithmetic in float64; what leaves the numbers although no operand was missing is an error."""
        numbers = [self._number(operand) for operand in operands]
        with np.errstate(all="ignore"):
            result = operation(*numbers)
        return self._finite(result, node, known=reduce(np.logical_and, map(np.isfinite, numbers)))

    def _finite(self, result: Any, node: ast.AST, known: Any = True) -> Any:
        wrong = np.atleast_1d(~np.isfinite(result) & known)
        if wrong.any():
            # A constant is wrong for all rows and has none of its own.
            row = f" in row {self.table.index[int(wrong.argmax())]}" if wrong.size == len(self.table) > 1 else ""
            raise RecordError(
                f"{_source(node)} is no number that a float holds{row} (an overflow, a division by zero, or a "
                f"logarithm of zero); in {_short(self.text)}: use smaller numbers, or leave such rows out of the table"
            )
        return result

    def _number(self, node: ast.AST) -> Any:
        value = _plain(self.value(node))
        if _is_text(value) and (said := _numbers_in(value)) is not None:
            return said
        if _is_text(value):
            raise RecordError(
                f"{_short(self.text)} mixes text and numbers: {_source(node)} is text, and arithmetic needs numbers; "
                "compare text with ==, != or in"
            )
        return np.asarray(value, np.float64)

    def _condition(self, node: ast.AST) -> Truth:
        value = self.value(node)
        if not isinstance(value, Truth):
            raise RecordError(
                f"{_source(node)} in {_short(self.text)} is not true or false: write a comparison, as 'n > 1e7', and "
                "brackets around comparisons that & or | joins"
            )
        return value

    def _compare(self, sides: list[ast.expr], ops: list[ast.cmpop]) -> Truth:
        return all_of([self._compare_two(*pair) for pair in zip(sides, ops, sides[1:], strict=False)])

    def _compare_two(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Truth:
        known = self._decided(left, right)
        # What is empty in every row has no type yet that could be compared.
        return self._compared(left, op, right).where(known) if np.any(known) else Truth.of(np.array(False), False)

    def _decided(self, *sides: ast.expr) -> Any:
        """Rows in which a comparison's cells are all filled; every row, where an empty cell stays one."""
        if not self.open:
            return np.array(True)
        names = [self.quoted.get(node.id, node.id) for side in sides for node in ast.walk(side) if _is_column(node)]
        filled = [self.table[name].notna().to_numpy() for name in names if name in self.table.columns]
        return reduce(np.logical_and, filled, np.array(True))

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Truth:
        if isinstance(op, ast.In | ast.NotIn):
            inside = np.logical_or.reduce([np.asarray(self._equal(left, item)) for item in self._items(right)])
            return Truth.of(inside if isinstance(op, ast.In) else ~inside)
        if isinstance(op, ast.Eq | ast.NotEq):
            equal = np.asarray(self._equal(left, right))
            return Truth.of(equal if isinstance(op, ast.Eq) else ~equal)
        if type(op) not in _ORDER:
            raise RecordError(f"{_short(self.text)} compares with 'is': write == instead; allowed are {ALLOWED}")
        a, b = _alike(*(_plain(self.value(side)) for side in (left, right)))
        if _is_text(a) or _is_text(b):
            raise RecordError(
                f"{_short(self.text)} mixes text and numbers: text has no order; compare it with ==, != or in"
            )
        numbers = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return Truth.of(_ORDER[type(op)](*numbers), ~np.logical_or(*map(np.isnan, numbers)))

    def _items(self, node: ast.expr) -> list[ast.expr]:
        if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
            raise RecordError(f"{_short(self.text)}: write the values after 'in' as a list, as in ['a', 'b']")
        return node.elts

    def _equal(self, left: ast.expr, right: ast.expr) -> Any:
        """Equality of text with text and of numbers with numbers; a number never equals text, which is an error of
        whoever compares them."""
        whole = [self._integers(side) for side in (left, right)]
        if all(side is not None for side in whole):
            return whole[0] == whole[1]
        a, b = _alike(*(_plain(self.value(side)) for side in (left, right)))
        if _is_text(a) != _is_text(b):
            raise RecordError(
                f"{_short(self.text)} mixes text and numbers: put quotes around text, and none around numbers"
            )
        return np.asarray(a, object if _is_text(a) else None) == np.asarray(b, object if _is_text(b) else None)

    def _integers(self, node: ast.expr) -> Any:
        """An integer, or a column of integers without a gap; None for anything else."""
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return number
            case ast.Name(id=name) if (found := self.quoted.get(name, name)) in self.table.columns:
                column = self.table[found]
                whole = column.dtype.kind in "iu" and not column.isna().any()
                return column.to_numpy().astype(object) if whole else None
        return None


def _is_column(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id not in _FUNCTIONS


def _plain(value: Any) -> Any:
    """A truth as a number, and everything else as it is."""
    return value.numbers if isinstance(value, Truth) else value


def _is_text(value: Any) -> bool:
    return np.asarray(value).dtype == object


def _numbers_in(value: Any) -> Array | None:
    """What a column of text says where all of it is numbers, as 70M; None of other text, and of quoted text."""
    return all_counts(value.tolist()) if np.ndim(value) else None


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Both sides of a comparison: of numbers with text that says numbers, those numbers."""
    if _is_text(a) == _is_text(b):
        return a, b
    read = [_numbers_in(side) if _is_text(side) else side for side in (a, b)]
    return (a, b) if any(side is None for side in read) else (read[0], read[1])


def _depth(tree: ast.AST) -> int:
    """Operations inside operations, counted without recursion."""
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return deepest


def _source(node: ast.AST) -> str:
    return _short(ast.unparse(node))


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
