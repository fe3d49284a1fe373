"""Of runs that are not trained yet, those that a filter of the runs table may keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from scaling.errors import RecordError
from scaling.records.outcome import Outcome, RunRecord
from scaling.spec import RunSpec, text_labels
from scaling.tables.expression import columns_named, could_hold

MEASURED = {one.name for one in fields(Outcome)} - {"status", "pairs", "env"}
MEASURED |= {"epochs", "device", "jax_version", "git_commit"}
"""Columns that nobody knows before the training; it is taken to end well."""

Facts = Mapping[str, Mapping[str, float]]


def may_keep(where: str | None, runs: Sequence[RunSpec], facts: Facts | None = None) -> list[RunSpec]:
    """The runs that may pass a filter once they are trained: all but those that it leaves out whatever they measure.

    Args:
        where: `fit.where` of a sweep file; None keeps all.
        runs: All runs of the sweep, for a text's label depends on what it has to be told from.
        facts: {text_id: {column: value}} of what is known of a text that was read.

    Raises:
        RecordError: it is no condition, or names a column that the runs table has not.
    """
    if where is None or not runs:
        return list(runs)
    import pandas as pd

    records = [RunRecord(spec=run, outcome=Outcome(status="done")) for run in runs]
    labels = text_labels(text for record in records for text in record.texts)
    # Which minimal pairs there are, a sweep asks for.
    empty = dict.fromkeys(MEASURED | {name for name in columns_named(where) if name.startswith("pairs_")})
    of_text = (facts or {}).get
    rows = [record.row(labels) | empty | dict(of_text(record.spec.data.text_id, {})) for record in records]
    try:
        kept = could_hold(pd.DataFrame(rows), where)
    except RecordError as error:
        raise RecordError(f"fit.where: {error}") from error
    return [run for run, keeps in zip(runs, kept, strict=True) if keeps]
