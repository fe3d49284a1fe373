"""Checks between a runs table and a fit: every value that a law cannot use is an error that names its rows, or is
listed as excluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RecordError
from scaling.tables.counts import counts
from scaling.tables.expression import as_written, evaluate, missing_column
from scaling.tables.finished import RUN_KEYS, checkpoint_notes, finished, follows_no_law, last_checkpoints, listed
from scaling.tables.labels import label_notes, named_labels
from scaling.tables.observations import DELTAS, GENERATOR_DELTAS, REAL, TEXT_COLUMNS, MadeOf, Observations, text_name
from scaling.tables.read import map_columns, select_rows
from scaling.tables.roles import LOSSES, check_roles
from scaling.tables.tokens import bytes_per_token_of, vocabulary_of
from scaling.tables.units import likely_loss, loss_notes, one_unit, size_notes

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
COUNTS = {"n": "parameters", "d": "tokens", "c": "FLOPs"}

LEAST_LOSS = 1e-60
"""Of a fit in log loss."""


def observe(
    runs: pd.DataFrame,
    *,
    columns: Mapping[str, str],
    loss: str = "loss",
    clusters: str | None = "trunk_id",
    positive: bool = True,
    where: str | None = None,
) -> Observations:
    """Turn a runs table into checked observations.

    Args:
        runs: one row a run. Used where present: its state (unfinished runs are excluded, with their reason) and its
            name (of several checkpoints of one run the last is kept), see `scaling.tables.finished`; `text_id`,
            which tells texts apart (in a table without it the label `teacher` does), and what is known of the text
            (`TEXT_COLUMNS`).
        columns: {law's name: column or expression}, as `{"n": "n_params", "d": "n_tokens"}`; "loss" among them comes
            before `loss`; what is read of any table (`scaling.tables.roles`) too, as `{"teacher": "corpus"}`.
        loss: column of the loss; its standard error is read where the table has it, see `_standard_error`.
        clusters: column of runs that share noise; each run alone if absent.
        positive: refuse losses that are not positive (log residuals cannot use them).
        where: expression that keeps rows.

    Returns:
        Observations, clusters and teachers numbered.

    Raises:
        RecordError: a column is missing or not numeric; a loss is missing, infinite or not positive; sizes in mixed
            units; duplicates.
    """
    check_roles(columns)
    loss, error = columns.get("loss", loss), columns.get("loss_se")
    columns = {name: column for name, column in columns.items() if name not in LOSSES}
    runs, words, columns = named_labels(runs, columns)
    n_rows, runs = len(runs), select_rows(runs, where)
    run_ids = tuple(map(str, runs["run_id"])) if "run_id" in runs.columns else ()
    done, left_out = finished(runs)
    aside, others = follows_no_law(runs[done])
    kept, left_out = runs[done][~aside], left_out + others
    if not len(kept):
        raise RecordError(f"all {len(runs)} runs are left out: {others[0].reason}")
    numbers = {name: _numbers(kept, column, name) for name, column in columns.items()}
    for name, values in numbers.items():
        _usable(kept, columns[name], values, positive=name in COUNTS)
        if name in ("n", "d"):
            one_unit(kept, columns[name], values, COUNTS[name])
    # A training log is cut to its end before duplicates are looked for: its rows share the name of their run.
    if {"n", "d"} <= set(numbers):
        last, checkpoints = last_checkpoints(kept, numbers["n"], numbers["d"])
        kept, left_out = kept[last], left_out + checkpoints
        numbers = {name: values[last] for name, values in numbers.items()}
    _no_duplicates(kept)
    measured = likely_loss(loss, _numbers(kept, loss, "loss"))
    _usable(kept, loss, measured, positive)
    teacher, teachers, texts = _texts(kept)
    of_text = _known_of_text(kept, teacher, teachers)
    _share(kept, (of_text | numbers).get("real_share"))
    _no_divergence_below_zero(kept, of_text | numbers)
    notes = _size_notes(kept, columns, numbers) + label_notes(kept, numbers, measured, teachers)
    return Observations(
        columns=of_text | numbers,
        loss=measured,
        loss_se=_standard_error(kept, loss, error),
        cluster=_codes(kept[clusters]) if clusters in kept.columns else np.arange(len(kept)),
        teacher=teacher,
        teachers=teachers,
        rows=tuple(row.item() if hasattr(row, "item") else row for row in kept.index),
        excluded=tuple({"row": _plain(out.row), "reason": out.reason} for out in left_out),
        written={name: as_written(column, kept.columns) for name, column in (columns | {"loss": loss}).items()},
        names=columns | words | {"loss": loss} | ({} if error is None else {"loss_se": error}),
        notes=(*loss_notes(kept, loss, measured), *notes, *checkpoint_notes(kept, left_out)),
        texts=texts,
        made_of=MadeOf(n_rows, where, n_rows - len(runs), run_ids, vocabulary_of(kept), bytes_per_token_of(kept)),
    )


def observed(runs: pd.DataFrame, data: Observations) -> pd.DataFrame:
    """The rows of a table that observations were made of, as `observe` keeps them; their labels are unique."""
    return runs.loc[list(data.rows)]


def not_flat(data: Observations) -> Observations:
    """The same observations: losses that are all one number follow no law, and overflow the search for one.

    Raises:
        RecordError: with their column.
    """
    if len(data) > 2 and np.ptp(data.loss) == 0:
        raise RecordError(
            f"column {data.names['loss']!r} holds {data.loss[0]:g} in all {len(data)} rows: a loss that depends on "
            "neither N nor D follows no law; name another column with --map loss=COLUMN (in Python loss=...)"
        )
    return data


def _no_duplicates(runs: pd.DataFrame) -> None:
    """A run counted twice halves its own noise."""
    key = next((name for name in RUN_KEYS if name in runs.columns), None)
    # Runs without a name are not known to be the same one.
    keys = runs[[key]].dropna() if key else runs
    try:
        # Most tables have a column in which no two rows agree, and single columns are looked through at once.
        if any(column.is_unique for _, column in keys.items()):
            return
        again = keys.duplicated(keep=False).to_numpy()
    except TypeError:  # a list in a cell has no hash; its text has
        again = keys.map(_hashable).duplicated(keep=False).to_numpy()
    if again.any():
        what = f"the same {key}" if key else "identical values in every column"
        raise RecordError(
            f"rows {listed(keys.index[again])} have {what}: a run counted twice makes a fit too sure of itself; "
            "keep one of each (DataFrame.drop_duplicates)"
        )


def _numbers(runs: pd.DataFrame, column: str, role: str) -> Array:
    """A column, or an expression over columns, as float64; of text, what it says as people write numbers."""
    import pandas as pd

    if column not in runs.columns and column.isidentifier():
        raise RecordError(
            f"no column {column!r} for {role}: {missing_column(column, list(runs.columns))} — say which one it is: "
            f"--map {role}=COLUMN (in Python {role}=..., or columns={{'{role}': ...}})"
        )
    values = pd.Series(evaluate(runs, column), index=runs.index)
    if values.dtype.kind in "fiu":
        return values.to_numpy(float)
    # A date, a list or true is no number; only numbers, and text that says one, are meant.
    values = values.astype(object)
    meant = values.map(_may_be_number).astype(bool) & values.notna()
    numeric = counts(values.where(meant, None).tolist())
    text = np.isnan(numeric) & values.notna().to_numpy()
    if text.any():
        other = zip(values.index[text], values[text], strict=True)
        raise RecordError(
            f"column {column!r} ({role}) has something else where a number belongs: "
            f"{listed(f'row {row}: {value!r}' for row, value in other)}; numbers are read as 70000000, 7e7, 70M and "
            "70,000,000: write these so, or filter those rows out"
        )
    return numeric


def _may_be_number(value: Any) -> bool:
    return isinstance(value, str | Real | Decimal | None) and not isinstance(value, bool | np.bool_)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, Hashable) else repr(value)


def _standard_error(runs: pd.DataFrame, loss: str, named: str | None = None) -> Array | None:
    """Of a column of losses: the one named, or its own, as `loss_se` is that of `loss`; None where there is none.

    One in bits/byte is the one in nats/token times a number of the text, and so is its error.
    """
    own, scale = f"{loss}_se", None
    if named is not None:
        own, runs = "loss_se", map_columns(runs, {"loss_se": named})
    elif own not in runs.columns and loss == "bits_per_byte" and "loss" in runs.columns:
        own, scale = "loss_se", _numbers(runs, loss, "loss") / _numbers(runs, "loss", "loss")
    # A table with one loss of another name may call its error by the usual one.
    elif own not in runs.columns and loss in runs.columns and "loss" not in runs.columns:
        own = "loss_se"
    if own not in runs.columns:
        return None
    values = _numbers(runs, own, "standard error of the loss") * (1.0 if scale is None else scale)
    return values if np.isfinite(values).any() else None


def _size_notes(runs: pd.DataFrame, columns: Mapping[str, str], numbers: Mapping[str, Array]) -> list[str]:
    sizes = [name for name in ("n", "d") if name in numbers]
    return [note for name in sizes for note in size_notes(runs, columns[name], numbers[name], COUNTS[name])]


def _usable(runs: pd.DataFrame, column: str, values: Array, positive: bool) -> None:
    # Squares and products of smaller numbers than that are zero to a computer.
    bad = ~np.isfinite(values) | ((values < LEAST_LOSS) if positive else False)
    if bad.any():
        found = listed(f"row {row}: {value:g}" for row, value in zip(runs.index[bad], values[bad], strict=True))
        allowed = f"finite and above zero (at least {LEAST_LOSS:g})" if positive else "finite"
        raise RecordError(
            f"column {column!r} must be {allowed}, got {found}; mark failed runs in `status`, or filter them out"
        )


def _texts(runs: pd.DataFrame) -> tuple[Array, tuple[str, ...], dict[str, str]]:
    """Which text each run read: int[n_runs], a label for each text, and the label by text_id."""
    labels, given = (text_names(runs, column) for column in ("teacher", "text_id"))
    labels = np.where(labels == "", REAL, labels)
    has_id = given != ""
    # Real text is one text, whatever the source: nothing stands between it and the student.
    keys = np.where(has_id & (labels != REAL), given, labels)
    label_of = dict(zip(keys, labels, strict=True))
    shared = {label for label, n in Counter(label_of.values()).items() if n > 1}
    label_of = {key: f"{label} ({key})" if label in shared else label for key, label in label_of.items()}
    names = tuple(sorted(label_of.values(), key=lambda label: (label != REAL, label)))
    texts = {text_id: label_of[key] for text_id, key in zip(given[has_id], keys[has_id], strict=True)}
    return np.array([names.index(label_of[key]) for key in keys]), names, texts


def text_names(runs: pd.DataFrame, column: str) -> Array:
    """What is named in each row, as text: object[n_runs], empty where nothing is, or there is no such column."""
    if column not in runs.columns:
        return np.full(len(runs), "", dtype=object)
    named = zip(runs[column].tolist(), runs[column].notna(), strict=True)
    return np.array([text_name(value) if known else "" for value, known in named], dtype=object)


def _known_of_text(runs: pd.DataFrame, teacher: Array, teachers: tuple[str, ...]) -> dict[str, Array]:
    """What is known of every run's text, by column."""
    is_real = np.array([teachers[code] == REAL for code in teacher])
    given = {name: _numbers(runs, name, name) for name in TEXT_COLUMNS if name in runs.columns}
    known = {name: np.where(is_real, 0.0, values) for name, values in given.items() if name != "real_share"}
    if "real_share" in given:
        known["real_share"] = np.where(is_real & np.isnan(given["real_share"]), 1.0, given["real_share"])
    if len(teachers) == 1 and not set(DELTAS) & set(known):
        known |= dict.fromkeys(DELTAS, np.zeros(len(runs)))
    return _complete(known, len(runs))


def _complete(known: dict[str, Array], n_runs: int) -> dict[str, Array]:
    """The columns that every run has; of a pair of divergences one may be left out, which is zero then."""
    for pair in (DELTAS, GENERATOR_DELTAS):
        if set(pair) & set(known):
            known = dict.fromkeys(pair, np.zeros(n_runs)) | known
        if not all(np.isfinite(known[name]).all() for name in pair if name in known):
            known = {name: values for name, values in known.items() if name not in pair}
    return {name: values for name, values in known.items() if name != "real_share" or np.isfinite(values).all()}


def _share(runs: pd.DataFrame, share: Array | None) -> None:
    """A share in percent would pass for text that is more than real."""
    if share is not None and (bad := (share < 0) | (share > 1)).any():
        found = listed(f"row {row}: {value:g}" for row, value in zip(runs.index[bad], share[bad], strict=True))
        raise RecordError(f"column 'real_share' must lie between 0 and 1, got {found}; give a share, not per cent")


def _no_divergence_below_zero(runs: pd.DataFrame, known: Mapping[str, Array]) -> None:
    """A form that takes a power of it would have no value."""
    for name in (*DELTAS, *GENERATOR_DELTAS):
        if name in known and (bad := known[name] < 0).any():
            found = listed(
                f"row {row}: {value:g}" for row, value in zip(runs.index[bad], known[name][bad], strict=True)
            )
            raise RecordError(
                f"column {name!r} is a divergence, KL(real text || text), which is never below zero, got {found}; an "
                "estimate that came out a little below is zero, and of a text better than real text leave it out"
            )


def _codes(column: pd.Series) -> Array:
    codes = column.factorize()[0]
    lone = codes < 0  # a missing trunk is a trunk of its own
    return np.where(lone, codes.max() + 1 + np.cumsum(lone), codes)


def _plain(row: Any) -> Any:
    return row.item() if hasattr(row, "item") else row
