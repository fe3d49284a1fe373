"""Which rows of a table are runs that came to their end: states of this program and of trackers, and checkpoints of
one training that stand as rows of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RecordError

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray

STATE_COLUMNS = ("status", "Status", "state", "State")
"""How this program, MLflow and W&B name the state of a run."""
CLOCKS = ("_runtime", "Runtime")
"""Seconds that a run lasted, as W&B exports them; a run without any never started."""
FINISHED = frozenset({"done", "finished", "complete", "completed", "success", "succeeded"})
UNFINISHED = frozenset(
    ("diverged", "failed", "failure", "crashed", "killed", "aborted", "error", "cancelled", "canceled", "timeout")
    + ("stopped", "interrupted", "preempted", "preempting", "running", "queued", "scheduled", "pending")
)
RUN_KEYS = ("run_id", "run", "Run ID", "ID")
"""Columns that name a run; rows that share a value are one training at several times."""
EVENLY = 8
"""So many equally spaced volumes of one size, counted from the first step on, are a training log: plans of runs space
their volumes by factors."""
UNEVEN = 0.05
GUESSED = "its volumes are equally spaced"
"""What tells checkpoints where no column names runs."""
CONTINUED = (
    "a law of size and data is one of random weights; `scaling transfer` says what theirs were worth (set "
    "start_tokens to 0 to fit the run all the same)"
)
LONGEST_WORD = 60
"""Characters of a value in a message."""


@dataclass(frozen=True)
class LeftOut:
    """A row that is not fitted.

    Attributes:
        row: its label in the table.
        reason: one sentence.
    """

    row: Any
    reason: str


def finished(runs: pd.DataFrame) -> tuple[Array, list[LeftOut]]:
    """Rows whose run came to its end, and why the others did not.

    Args:
        runs: one row a run. Read where present: `STATE_COLUMNS` (words in any case), `CLOCKS`.

    Returns:
        bool[n_rows], and a line for every other row.

    Raises:
        RecordError: no rows, a state that no one knows, or no finished run at all.
    """
    if not len(runs):
        raise RecordError("the table has no rows: nothing to fit; check the path and the filter")
    reason = np.full(len(runs), "", object)
    for column in CLOCKS:
        if column in runs.columns:
            ran = np.array([_lasted(value) for value in runs[column]], bool)
            reason[~ran] = f"never ran ({column} is empty or zero)"
    # The state of a run says more than its clock, so it has the last word.
    for column in STATE_COLUMNS:
        if column in runs.columns:
            reason = np.where(_unfinished(runs[column]) != "", _unfinished(runs[column]), reason)
    done = reason == ""
    if not done.any():
        found = ", ".join(sorted(set(reason)))
        raise RecordError(f"none of the {len(runs)} runs is done ({found}): nothing to fit; train first, or look why")
    return done, [LeftOut(row, why) for row, why in zip(runs.index[~done], reason[~done], strict=True)]


def came_to_end(row: Mapping[Any, Any]) -> bool:
    """Whether a single row is that of a run that came to its end, as `finished` says it of a table's."""
    words = [str(row[column]).strip().lower() for column in STATE_COLUMNS if column in row]
    return all(word in FINISHED for word in words) and all(_lasted(row[column]) for column in CLOCKS if column in row)


def _lasted(value: Any) -> bool:
    """Whether a cell of a clock says that a run took any time: a number, a duration, or one in words (``1h 2m``)."""
    try:
        return float(value) > 0
    except ValueError:
        return bool(str(value).strip())
    except TypeError:
        return isinstance(value, timedelta) and value > timedelta(0)


def follows_no_law(runs: pd.DataFrame) -> tuple[Array, list[LeftOut]]:
    """Runs that no law of size and data describes: bool[n_rows], and a line for each.

    Their recipe minimised something else than a loss on tokens, or they went on from the weights of another run, whose
    tokens are not among theirs.
    """
    aside = np.zeros(len(runs), bool)
    left_out: list[LeftOut] = []
    for off, reasons in (_aims_elsewhere(runs), _continued(runs)):
        off = off & ~aside
        left_out += [LeftOut(row, why) for row, why in zip(runs.index[off], reasons[off], strict=True)]
        aside |= off
    return aside, left_out


def _aims_elsewhere(runs: pd.DataFrame) -> tuple[Array, Array]:
    """Runs of a recipe that does not aim at the loss: bool[n_rows], and what is said of every row."""
    if "aims_at_loss" not in runs.columns:
        return np.zeros(len(runs), bool), np.full(len(runs), "", object)
    off = (runs["aims_at_loss"] == False).to_numpy()  # noqa: E712 — what is missing says nothing
    recipe = runs["recipe"] if "recipe" in runs.columns else runs.index
    said = "does not aim at the loss, so no loss law describes it (set aims_at_loss to true to fit it all the same)"
    return off, np.array([f"recipe {what} {said}" for what in recipe], object)


def _continued(runs: pd.DataFrame) -> tuple[Array, Array]:
    """Runs that went on from another's weights: bool[n_rows], and what is said of every row."""
    import pandas as pd

    if not {"start_run", "start_tokens"} & set(runs.columns):
        return np.zeros(len(runs), bool), np.full(len(runs), "", object)
    missing = pd.Series(np.nan, index=runs.index)
    tokens = pd.to_numeric(runs.get("start_tokens", missing), errors="coerce")
    named = runs.get("start_run", missing)
    # How much was read before says more than whose weights they were: after nothing they are random.
    off = np.where(tokens.notna(), tokens > 0, named.notna() & (named != ""))
    read = tokens.map("{:.4g} tokens".format).where(tokens.notna(), "an unknown number of tokens")
    return off, np.array([f"went on from another run's weights (after {what}): {CONTINUED}" for what in read], object)


def _unfinished(column: pd.Series) -> Array:
    """Why each run is not done; empty for a finished one."""
    words = column.astype(object).where(column.notna(), "").map(lambda word: str(word).strip().lower())
    unknown = ~words.isin(FINISHED | UNFINISHED | {""}).to_numpy()
    if unknown.any():
        raise RecordError(
            f"column {column.name!r} has states that nobody knows, {listed(_values(column, unknown))}; finished are "
            f"{', '.join(sorted(FINISHED))}, others {', '.join(sorted(UNFINISHED))}: rename the column if it says "
            "something else, or use one of these words"
        )
    return np.array(["" if word in FINISHED else f"status {word}" if word else "no status" for word in words], object)


def last_checkpoints(runs: pd.DataFrame, n: Array, d: Array) -> tuple[Array, list[LeftOut]]:
    """Rows that are the end of a training, and a line for each row that is a checkpoint on the way.

    Only the last row of a training is annealed: the others lie above the law of finished runs, the more the earlier
    they are. Rows of one name (`RUN_KEYS`) and one size are one training. Where no column names runs, `EVENLY` equally
    spaced volumes of one size are.

    Args:
        runs: the finished rows.
        n, d: float64[n_rows], size and tokens of each.

    Returns:
        bool[n_rows], and a line for every other row.

    **Source:** Hoffmann et al. 2022, arXiv 2203.15556, section 3.1 and figure A1: a cosine schedule longer than the run
    costs loss at every earlier step.
    """
    key = next((name for name in RUN_KEYS if name in runs.columns), None)
    keep, left_out = np.ones(len(runs), bool), []
    for name, rows in _trainings(runs, key, n):
        if len(rows) < (2 if key else EVENLY):
            continue
        # One size at rising volumes under one name may be one training; without a name only even spacing gives it away.
        volumes = d[rows]
        several = len(np.unique(n[rows])) == 1 and len(np.unique(volumes)) == len(rows)
        if not several or (key is None and not _evenly_spaced(volumes)):
            continue
        whose = f"run {name}" if key else f"one run of size {name:g} ({GUESSED})"
        hint = "" if key else "; if they are runs of their own, name each in a column run_id"
        for i in rows[volumes < volumes.max()]:
            keep[i] = False
            left_out.append(
                LeftOut(runs.index[i], f"checkpoint of {whose}: only the one at {volumes.max():g} is annealed{hint}")
            )
    return keep, left_out


def checkpoint_notes(kept: pd.DataFrame, left_out: Sequence[LeftOut]) -> list[str]:
    """What is said of rows that only their even spacing made checkpoints: it is a guess, and most of a table may go."""
    guessed = [one for one in left_out if GUESSED in one.reason]
    if not guessed:
        return []
    return [
        f"{len(guessed)} of {len(kept) + len(left_out)} rows were taken for checkpoints of a training and left out, as "
        "the volumes of one size are equally spaced; if they are runs of their own, name each in a column run_id"
    ]


def _trainings(runs: pd.DataFrame, key: str | None, n: Array) -> list[tuple[Any, Array]]:
    """Rows of one name, or of one size on one text where runs have no names."""
    if key is not None:
        groups = runs[key].reset_index(drop=True).to_frame().groupby(key)
        return [(name, np.asarray(rows)) for name, rows in groups.indices.items()]
    texts = [runs[column].factorize()[0] for column in ("teacher", "text_id") if column in runs.columns]
    training = np.unique(np.column_stack([n, *texts]), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(training, kind="stable")
    starts = np.flatnonzero(np.diff(training[order])) + 1
    return [(n[rows[0]], rows) for rows in np.split(order, starts)]


def _evenly_spaced(volumes: Array) -> bool:
    """Whether the volumes are those of a log: one step apart from the first on."""
    steps = np.diff(np.sort(volumes))
    return bool(steps.std() < UNEVEN * steps.mean() and volumes.min() < 2.5 * steps.mean())


def _values(column: pd.Series, mask: Array) -> list[str]:
    return [f"row {row}: {value!r}" for row, value in column[mask].items()]


def listed(items: Any, most: int = 8, between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    words = [word if len(word) <= LONGEST_WORD else word[:LONGEST_WORD] + "…" for word in map(str, items)]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more
