"""One look for all figures: measured are markers with error bars, the fit is a line, what lies beyond the runs is
dashed on a grey ground."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import LogLocator, NullFormatter

from scaling.errors import RecordError, SpecError
from scaling.numbers import number, shortly
from scaling.shown import FIGURES
from scaling.tables.expression import missing_column

Array = np.ndarray
STYLE = Path(__file__).with_name("scaling.mplstyle")
BEYOND = 4.0
"""Factor by which a curve goes on beyond the runs."""
MANY = 6
"""Curves that can still be told apart."""
LONG = 9
"""Entries of a legend that still leave room for what it explains."""


@contextmanager
def styled() -> Iterator[None]:
    """The style sheet, for the figures that are made within."""
    with plt.style.context(STYLE):
        yield
        interactive = plt.isinteractive()
    # A notebook becomes interactive when it first draws, which the end of a style would take back.
    matplotlib.interactive(interactive)


TAKES: dict[str, frozenset[str]] = {}
"""What each figure draws: names of classes, of which one is a result's own or one that it is derived from."""


def _kinds(annotation: str) -> frozenset[str]:
    """The names of the classes of ``pd.DataFrame``, ``Backtest | Score`` or ``Sequence[BatchTradeoff]``."""
    return frozenset(part.strip().partition("[")[0].rpartition(".")[2] for part in annotation.split("|"))


def _is_drawn_by(result: Any, name: str) -> bool:
    kinds = {kind.__name__ for kind in type(result).__mro__}
    return bool(TAKES[name] & kinds) or (isinstance(result, list | tuple) and "Sequence" in TAKES[name])


def _check_kind(name: str, result: Any) -> None:
    """Refuse what a figure does not draw.

    Raises:
        SpecError: names the figures that draw it.
    """
    if _is_drawn_by(result, name):
        return
    own = [repr(one) for one in FIGURES if _is_drawn_by(result, one)]
    told = f"its own figures are {', '.join(own)}" if own else "no figure draws it"
    raise SpecError(f"figure {name!r}: draws {' or '.join(sorted(TAKES[name]))}, got {shortly(result)} — {told}")


@contextmanager
def _of_columns(name: str, table: Any) -> Iterator[None]:
    """Tell a column that a table lacks.

    Raises:
        RecordError: names it, and the columns that there are.
    """
    try:
        yield
    except KeyError as error:
        columns = getattr(table, "columns", None)
        if columns is None or isinstance(columns, Mapping):
            raise
        missing = error.args[0] if error.args else ""
        told = missing_column(str(missing), [str(one) for one in columns])
        raise RecordError(f"figure {name!r}: no column {missing!r}: {told} — give one that has it") from error


def figure(name: str) -> Callable[[Callable[..., None]], Callable[..., Axes]]:
    """A decorator that makes a figure of a function that draws on axes.

    The figure takes results and axes, or makes new ones; it draws in one style and gives the axes back.
    """

    def made(draw: Callable[..., None]) -> Callable[..., Axes]:
        @wraps(draw)
        def drawn(result: Any, ax: Axes | None = None, **options: Any) -> Axes:
            _check_kind(name, result)
            try:
                signature(draw).bind(result, ax, **options)
            except TypeError as error:
                raise SpecError(f"figure {name!r}: {error} — see help(scaling.figures.{draw.__name__})") from error
            with styled(), _of_columns(name, result):
                ax = ax or plt.subplots()[1]
                draw(result, ax, **options)
                _finish(ax)
            return ax

        # A figure's first argument says what it draws; its modules load no more of it than its name.
        TAKES[name] = _kinds(next(iter(draw.__annotations__.values())))
        return FIGURES.add(name, drawn)

    return made


def _finish(ax: Axes) -> None:
    """A legend of what has a label, and numbers on logarithmic axes that do not lie across each other."""
    if labels := ax.get_legend_handles_labels()[1]:
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(labels) > LONG else {}
        ax.legend(**beside)
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if axis.get_scale() == "log":
            axis.set_minor_formatter(NullFormatter())
            if high < 100 * low:
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(lambda value, _: short(value))


def hue(index: int) -> str:
    """A colour of the style, as itself: "C0" would be looked up when the figure is drawn, in whatever style is then."""
    return to_hex(f"C{index}")


def errors(low: Any, value: Any, high: Any) -> Array:
    """Lengths of error bars, float64[2, n]; an end that is unknown has none."""
    low, value, high = (np.atleast_1d(np.asarray(part, float)) for part in (low, value, high))
    return np.nan_to_num(np.clip([value - low, high - value], 0, None), posinf=0.0)


def measured(ax: Axes, x: Any, y: Any, standard_error: Any = None, **look: Any) -> None:
    """Markers, with error bars of one standard error where it is known."""
    bars = None if standard_error is None else np.nan_to_num(standard_error)
    ax.errorbar(x, y, **{"yerr": bars, "fmt": "o", "elinewidth": 0.8, "capsize": 1.5, **look})


def left_out(ax: Axes, x: Any, y: Any) -> None:
    """Crosses: measured, and no part of the fit."""
    if len(x):
        ax.plot(x, y, "x", color="0.45", ms=5, label="left out of the fit")


def line(ax: Axes, x: Array, y: Array, inside: tuple[float, float], **look: Any) -> Any:
    """A curve, dashed outside of a range; gives the colour that it took."""
    within = (x >= inside[0] * (1 - 1e-9)) & (x <= inside[1] * (1 + 1e-9))
    (solid,) = ax.plot(np.where(within, x, np.nan), y, "-", **look)
    # The dashes meet the line at the last run on either side.
    near = within & ~(np.roll(within, 1) & np.roll(within, -1))
    rest = look | {"color": solid.get_color(), "label": "_beyond the runs", "ls": "--"}
    ax.plot(np.where(~within | near, x, np.nan), y, **rest)
    return solid.get_color()


def curve_points(inside: tuple[float, float], beyond: float = BEYOND) -> Array:
    """Points in equal ratios over a range and beyond its upper end, its ends among them."""
    low, high = inside
    return np.concatenate([np.geomspace(low, high, 60), np.geomspace(high, beyond * high, 21)[1:]])


def shade_beyond(ax: Axes, inside: tuple[float, float], beyond: float = BEYOND) -> None:
    """Grey ground beyond the largest run."""
    ax.axvspan(inside[1], beyond * inside[1], color="0.5", alpha=0.12, lw=0, label="beyond the runs")


def few(values: Array) -> list[tuple[float, Array]]:
    """A few values that stand for all, each with the rows it stands for: all of them, or `MANY` in equal ratios."""
    unique = np.unique(values)
    if len(unique) <= MANY:
        return [(float(one), values == one) for one in unique]
    centres = np.geomspace(unique[0], unique[-1], MANY)
    nearest = np.argmin(np.abs(np.log(values[:, None] / centres)), axis=1)
    groups = [(nearest == i) for i in range(MANY)]
    return [(float(np.exp(np.log(values[rows]).mean())), rows) for rows in groups if rows.any()]


def short(value: float) -> str:
    """1.23M for 1234567: three digits, as a legend has room for."""
    return number(value, digits=3)


def shortened(labels: Iterable[str], most: int = 22) -> list[str]:
    """Labels that fit under an axis."""
    return [label if len(label) <= most else f"{label[: most - 1]}…" for label in labels]


def texts_below(ax: Axes, texts: list[str]) -> None:
    """Names of texts along an axis; long ones lie across each other unless they are turned."""
    turned = max(map(len, texts)) * len(texts) > 60
    look: dict[str, Any] = {"rotation": 30, "ha": "right"} if turned else {}
    ax.set_xticks(np.arange(len(texts)), shortened(texts), **look)
    ax.set_xlim(-0.6, len(texts) - 0.4)
    ax.grid(visible=False, axis="x")
