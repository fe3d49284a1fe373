"""From any table of runs to checked observations: columns are mapped, rows filtered, and everything odd is named.

Expressions (`map`, `where`) are arithmetic and comparisons over column names, read by a whitelist of syntax: no code of
a table or of a command line is ever executed.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RecordError

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
REAL = "real"
DELTAS = ("delta_coverage", "delta_noise")
WRITER_DELTAS = ("writer_delta_coverage", "writer_delta_noise")
TEXT_COLUMNS = (*DELTAS, *WRITER_DELTAS, "real_share", "teacher_loss")
"""Columns that describe what a run read: the same for all runs of a teacher's label."""
SMALLEST_COUNT = 1e3
"""A table whose largest model or data set is below a thousand counts in millions or billions."""
WIDEST_GAP = 1e5
"""Neighbouring sizes further apart than this factor are in different units."""

_FUNCTIONS = {"log": np.log, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs}
_OPERATORS: dict[type, Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.Mod: np.mod,
    ast.BitAnd: np.logical_and,
    ast.BitOr: np.logical_or,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
    ast.Not: np.logical_not,
    ast.Invert: np.logical_not,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.In: lambda a, b: np.isin(a, b),
    ast.NotIn: lambda a, b: ~np.isin(a, b),
}


@dataclass(frozen=True)
class Observations:
    """Checked runs, as arrays.

    Attributes:
        columns: float64[n_runs] by the law's name of it (n, d, delta_noise, …).
        loss: float64[n_runs], nats/token.
        loss_se: float64[n_runs], or None where no standard error was measured.
        cluster: int[n_runs]: runs that share a trunk, and so their noise.
        teacher: int[n_runs]: index into `teachers`.
        teachers: labels, "real" first where present.
        rows: the table's own row labels.
        excluded: ({"row": label, "reason": sentence}, …).
        names: {"n": column or expression it came from, …}.
    """

    columns: Mapping[str, Array]
    loss: Array
    loss_se: Array | None
    cluster: Array
    teacher: Array
    teachers: tuple[str, ...]
    rows: tuple[Any, ...]
    excluded: tuple[dict[str, Any], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def n_clusters(self) -> int:
        """Number of independent trainings."""
        return len(np.unique(self.cluster))

    def select(self, mask: Array) -> Observations:
        """Only the rows where the mask is true."""
        return Observations(
            {name: values[mask] for name, values in self.columns.items()},
            self.loss[mask],
            None if self.loss_se is None else self.loss_se[mask],
            self.cluster[mask],
            self.teacher[mask],
            self.teachers,
            tuple(row for row, keep in zip(self.rows, mask, strict=True) if keep),
            self.excluded,
            self.names,
        )

    def inputs(self, names: tuple[str, ...]) -> SimpleNamespace:
        """The named columns as a law reads them; `teacher` is the code of the teacher."""
        every = {**self.columns, "teacher": self.teacher.astype(float)}
        missing = [name for name in names if name not in every]
        if missing:
            raise RecordError(
                f"the law needs the columns {', '.join(missing)}, which the table does not give for every run: map "
                f"them with columns={{{', '.join(f'{name!r}: COLUMN' for name in missing)}}}, or choose a law "
                f"of {', '.join(every)}"
            )
        return SimpleNamespace(**{name: every[name] for name in names})


def read_runs(path: str | Path, *, map: Mapping[str, str] | None = None, where: str | None = None) -> pd.DataFrame:
    """Read a CSV of runs, add mapped columns, keep the rows of interest.

    Args:
        path: CSV file with a header.
        map: {new column: column or expression}, as `{"d": "C / (6 * n)", "loss": "val_loss"}`; later entries may use
            earlier ones.
        where: expression that is true for the rows to keep, as `"dataset == 'c4' and n > 1e7"`. Put odd column names
            in backticks.

    Returns:
        DataFrame with the file's columns and the mapped ones; its index is the line number in the file, the header
        being line 1.

    Raises:
        RecordError: unreadable file, unknown column, or an expression outside arithmetic and comparisons.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise RecordError(f"no table at {path}: give the path of a CSV file with a header line") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise RecordError(
            f"{path} is not a readable CSV table ({error}): give a comma-separated file with a header line"
        ) from error
    table.index = pd.RangeIndex(2, len(table) + 2, name="line")
    for name, expression in (map or {}).items():
        table[name] = evaluate(table, expression)
    return select_rows(table, where)


def select_rows(table: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Rows of a table for which an expression is true (all, for None)."""
    if where is None:
        return table
    mask = np.asarray(evaluate(table, where))
    if mask.dtype != bool:
        raise RecordError(f"the filter {where!r} gives numbers, not true or false: write a comparison, as 'n > 1e7'")
    return table[np.broadcast_to(mask, len(table))]


def evaluate(table: pd.DataFrame, expression: str) -> Array:
    """Value of an expression over a table's columns: arithmetic, comparisons, and/or/not, in, log, log10, exp, sqrt,
    abs.

    Raises:
        RecordError: unknown column, or anything else than the above.
    """
    if expression in table.columns:
        return table[expression].to_numpy()
    quoted: list[str] = re.findall(r"`([^`]*)`", expression)
    text = expression
    for i, name in enumerate(quoted):
        text = text.replace(f"`{name}`", f"_quoted_{i}_")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise RecordError(
            f"cannot read the expression {expression!r}: {error.msg}; put column names with spaces in backticks"
        ) from error
    names = {f"_quoted_{i}_": name for i, name in enumerate(quoted)}
    try:
        with np.errstate(all="ignore"):
            return _value(tree, table, names, expression)
    except TypeError as error:
        raise RecordError(f"cannot evaluate {expression!r}: it mixes text and numbers ({error})") from error


def _value(node: ast.AST, table: pd.DataFrame, names: Mapping[str, str], whole: str) -> Any:
    """Evaluate one node of the whitelisted syntax."""
    inner = lambda child: _value(child, table, names, whole)  # noqa: E731
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            return _column(table, names.get(name, name), whole)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [inner(item) for item in items]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](inner(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](inner(left), inner(right))
        case ast.BoolOp(op=op, values=values):
            return _OPERATORS[type(op)].reduce([inner(value) for value in values])
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _OPERATORS for op in ops):
            sides = [inner(left), *(inner(other) for other in others)]
            pairs = zip(ops, sides, sides[1:], strict=False)
            return np.logical_and.reduce([_OPERATORS[type(op)](a, b) for op, a, b in pairs])
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](inner(argument))
    allowed = "column names, numbers, 'text', + - * / ** %, comparisons, in [...], and, or, not, log log10 exp sqrt abs"
    raise RecordError(f"the expression {whole!r} contains {ast.unparse(node)!r}: allowed are {allowed}")


def _column(table: pd.DataFrame, name: str, whole: str) -> Array:
    if name in ("True", "False"):
        return np.bool_(name == "True")
    if name not in table.columns:
        raise RecordError(f"{whole!r} names {name!r}: {missing_column(name, list(table.columns))}")
    return table[name].to_numpy()


def missing_column(name: str, columns: list[str]) -> str:
    """Sentence that says which columns there are, nearest name first."""
    close = difflib.get_close_matches(str(name), [str(c) for c in columns], 1)
    hint = f" — did you mean {close[0]!r}?" if close else ""
    return f"the table has no such column; it has {', '.join(str(c) for c in columns)}{hint}"
