"""`plot`: the figure of whatever a notebook holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from scaling.shown import FIGURES, Drawn

if TYPE_CHECKING:
    import pandas as pd


def plot(result: Drawn | pd.DataFrame, ax: Axes | None = None, *, figure: str | None = None, **options: Any) -> Axes:
    """Draw a result, or a table of runs.

    >>> plot(runs).get_xlabel()
    'N, parameters (n_params)'

    Args:
        result: what is drawn.
        ax: where; a new figure by default.
        figure: name of one of `scaling.figures`; by default the result's own.
        **options: as that figure takes them.

    Raises:
        SpecError: no figure has that name, or it draws results of another kind.
        RecordError: a table lacks what the figure draws.
    """
    name = figure or (result.figure if isinstance(result, Drawn) else "runs")
    return FIGURES[name](result, ax=ax, **options)
