"""Loss that rounding the weights adds, at several numbers of bits, on every run of a sweep: no training is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from scaling.compress.degradation import paired
from scaling.errors import RecordError, SpecError
from scaling.formats.quantized import check_finite, quantize_blocks, quantize_q8_0
from scaling.records import RunStore, runs_table, with_rows_of_before
from scaling.spec import RunSpec
from scaling.stop import check_stop
from scaling.train.checkpoint import load_student
from scaling.train.evaluate import Evaluation, evaluate
from scaling.train.measure import held_out
from scaling.train.student.model import from_tensors, to_tensors

BITS = (2, 3, 4, 5, 6, 8)
"""Blocks of 32 with an f16 scale in all of them; 4, 5 and 8 bits are llama.cpp's Q4_0, Q5_0 and Q8_0."""

OF_RUN = (
    *("run_id", "trunk_id", "source", "teacher", "n_params", "n_params_linear", "n_params_total", "n_tokens"),
    *("width", "n_layers"),
)
"""Columns of the runs table that a row of damage repeats."""


def rounded(tensors: Mapping[str, np.ndarray], bits: int) -> dict[str, np.ndarray]:
    """float32 tensors whose matrices, the token table included, are rounded to so many bits.

    Raises:
        SpecError: there is no such number of bits.
    """
    if bits not in range(2, 9):
        raise SpecError(f"{bits} bits for a weight — 2 to 8 are known; see --bits")
    one: Callable = quantize_q8_0 if bits == 8 else partial(quantize_blocks, bits=bits)
    return {name: one(tensor).dequantize() if tensor.ndim == 2 else tensor for name, tensor in tensors.items()}


MEASURED = ("bits", "loss", "damage", "damage_se", "damage_low", "damage_high")
"""Columns that are measured, one row for each number of bits."""


def damage_table(
    runs: Sequence[RunSpec],
    store: RunStore,
    *,
    bits: Sequence[int] = BITS,
    progress: Callable[[int, RunSpec], None] = lambda done, run: None,
    known: pd.DataFrame | None = None,
    keep: Callable[[pd.DataFrame], None] = lambda table: None,
) -> pd.DataFrame:
    """One row for every finished run and number of bits: ``loss`` as trained, ``damage`` = what rounding adds.

    ``damage_se`` is the standard error of the paired difference; ``damage_low`` and ``damage_high`` are the ends of its
    90 % interval, from sequences drawn anew. nats/token on the run's own real held-out set.

    Args:
        runs: Those that are not finished are passed over.
        store: Where they lie.
        bits: Of a weight.
        progress: Called before each run that is measured.
        known: A table of before: runs that it has at all these bits are not measured again.
        keep: Called with the rows so far, behind each run that was measured.

    Raises:
        RecordError: none of the runs is finished.
        SpecError: a number of bits is not known.
    """
    records = [store.load(run.run_id) for run in runs if store.has(run.run_id)]
    finished = [record for record in records if record.outcome.status == "done"]
    if not finished:
        raise RecordError("no finished run to measure damage on — train the sweep first: scaling sweep SWEEP.yaml")
    # Labels tell texts apart among all runs, so they are given to all at once.
    labels = runs_table(finished)[list(OF_RUN)]
    found: list[pd.DataFrame] = []
    for done, record in enumerate(finished):
        run_id = record.spec.run_id
        rows = _known_rows(known, run_id, bits)
        if rows is None:
            progress(done, record.spec)
            rows = damage_of_run(record.spec, store, bits).assign(run_id=run_id)
            keep(labels.merge(pd.concat([*found, rows]), on="run_id"))
        found.append(rows)
    return labels.merge(pd.concat(found), on="run_id")


def _known_rows(known: pd.DataFrame | None, run_id: str, bits: Sequence[int]) -> pd.DataFrame | None:
    """What a table has of a run, if it has all these bits."""
    if known is None or not {*MEASURED, "run_id"} <= set(known):
        return None
    rows = known[(known["run_id"] == run_id) & known["bits"].isin(bits)]
    return rows[[*MEASURED, "run_id"]] if len(rows) == len(bits) else None


def with_known(table: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    """A table, and below it what one of before tells of other runs and numbers of bits."""
    if known is None or not {*MEASURED, "run_id"} <= set(known):
        return table
    return with_rows_of_before(table, known, lambda rows: list(zip(rows["run_id"], rows["bits"], strict=True)))


def damage_of_run(run: RunSpec, store: RunStore, bits: Sequence[int] = BITS) -> pd.DataFrame:
    """The columns of :func:`damage_table` that are measured, one row for each number of bits."""
    tensors = to_tensors(load_student(store.student_dir(run.run_id), run.model))
    check_finite(tensors, what=f"run {run.run_id}")
    real = held_out(run, store).real

    def measured(weights: Mapping[str, np.ndarray]) -> Evaluation:
        check_stop()
        return evaluate(from_tensors(run.model, weights), real)

    before = measured(tensors)
    rows = []
    for one in bits:
        cost = paired(before.per_sequence, measured(rounded(tensors, one)).per_sequence, before.scored)
        rows.append((one, cost.before, cost.increase, cost.increase_se, cost.low, cost.high))
    return pd.DataFrame(rows, columns=list(MEASURED))
