"""Results as a notebook shows them: each has a table and a page, and where it makes sense a figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from scaling.registry import Registry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FIGURES: Registry[Callable[..., Any]] = Registry("figure", package="scaling.report.figures")
"""Figures by name; a result names its own, so that whoever computes it never loads matplotlib."""


class Shown(ABC):
    """A result with a table."""

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """The result as a table, one row an entry, columns in plain units."""

    def __str__(self) -> str:
        """The table, of a result that has no sentence of its own."""
        return self.frame().to_string(index=False, float_format="{:.5g}".format)

    def _repr_html_(self) -> str:
        import html

        # Only a sentence of its own says more than the table does.
        told = type(self).__str__ is not Shown.__str__
        title = f"<p>{html.escape(str(self))}</p>" if told else ""
        return f"<div>{title}{self.frame().to_html(index=False, float_format='{:.5g}'.format)}</div>"


class Drawn(Shown):
    """A result with a table and a figure."""

    figure: ClassVar[str]

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the result.

        >>> fit.plot(teacher="noise 0.2").get_ylabel()
        'loss, nats/token'

        Args:
            ax: Where; a new figure by default.
            **options: As the figure of that name in `scaling.report.figures` takes them.

        Returns:
            The axes, which a notebook shows.
        """
        return FIGURES[self.figure](self, ax=ax, **options)
