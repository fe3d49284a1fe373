"""A table of runs as a notebook gives one: itself, or the file or folder that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from scaling.errors import RecordError, SpecError
from scaling.numbers import shortly

if TYPE_CHECKING:
    import pandas as pd


def table_given(runs: Any, *, columns: Sequence[str] = (), name: str = "runs") -> pd.DataFrame:
    """The table itself, or what `load_runs` reads.

    Args:
        runs: A table, or its file or folder.
        columns: That are needed.
        name: What it is called, for the message.

    Raises:
        SpecError: it is neither.
        RecordError: there is nothing to read there, or a column is missing.
    """
    import pandas as pd

    if isinstance(runs, str | PathLike):
        from scaling.records.table import load_runs

        runs = load_runs(runs)
    if not isinstance(runs, pd.DataFrame):
        raise SpecError(
            f"{name}: got {shortly(runs)}, allowed are a table (a pandas DataFrame, as scaling.load_runs gives it), "
            "and its file or folder"
        )
    # The first that is missing, with the names that come near it.
    if missing := [one for one in columns if one not in runs]:
        from scaling.tables.expression import missing_column

        raise RecordError(f"no column {missing[0]!r}: {missing_column(missing[0], [str(one) for one in runs])}")
    return runs
