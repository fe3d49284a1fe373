"""What a student saves on a keyboard, from its weights as they are exported, and an n-gram model of as many bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from scaling.accounting import DEFAULT_FORMAT, weights_bytes
from scaling.compress.student import quantize
from scaling.data.batches import with_bos
from scaling.data.tasks.next_words import WORDS, KeyboardUse, TypedWords, typed_words
from scaling.data.tasks.suggestions import Model, Spelling, measure_keyboard
from scaling.data.text import open_text, open_tokenizer
from scaling.errors import DataError, RecordError
from scaling.export.bundle.files import Bundle, load_tensors
from scaling.export.format import EXPORT_FORMATS
from scaling.formats.quantized import check_finite
from scaling.records import RunStore, runs_table, with_rows_of_before
from scaling.spec import RunSpec, TextSource
from scaling.stop import check_stop
from scaling.teach.small_ngram import NgramKeyboard, ngram_bytes, train_small_ngram
from scaling.train.evaluate import evaluate
from scaling.train.measure import held_out
from scaling.train.student.keyboard import StudentKeyboard, context_of
from scaling.train.student.model import from_tensors

OF_RUN = ("run_id", "trunk_id", "source", "teacher", "n_params", "n_params_total", "n_tokens", "width", "n_layers")
"""Columns of the runs table that a row repeats."""
MODELS = ("student", "ngram")
"""What types, in the order of the rows."""


@dataclass(frozen=True, kw_only=True)
class KeyboardRow:
    """One model behind a keyboard.

    Attributes:
        run_id: The training of the student; for an n-gram model of the one that it is held against.
        model: ``student``, or ``ngram``: of as many bytes, and as much real text as the student read.
        format: That the weights are stored in; empty for an n-gram model.
        weights_bytes: Of the stored weights, vocabulary and header not counted.
        loss: On the run's real held-out set, of the stored weights, nats/token.
        bits_per_byte: The same in bits per byte of text.
        use: What its suggestions are worth.
    """

    run_id: str
    model: Literal["student", "ngram"]
    format: str
    weights_bytes: int
    loss: float
    bits_per_byte: float
    use: KeyboardUse

    def row(self) -> dict[str, float | int | str]:
        """One flat row of a table."""
        values = asdict(self)
        return values | values.pop("use")


MEASURED = (*(one.name for one in fields(KeyboardRow) if one.name != "use"), *(one.name for one in fields(KeyboardUse)))
"""Columns of a row that are its own."""


def keyboard_table(
    runs: Sequence[RunSpec],
    store: RunStore,
    *,
    format: str = DEFAULT_FORMAT,
    n_words: int = WORDS,
    ngrams: bool = False,
    known: pd.DataFrame | None = None,
    progress: Callable[[int, RunSpec], None] = lambda done, run: None,
    keep: Callable[[pd.DataFrame], None] = lambda table: None,
) -> pd.DataFrame:
    """One row for every finished run, its columns those of `KeyboardRow` and of the runs table.

    Args:
        runs: Those that are not finished are passed over.
        store: Where they lie.
        format: Export format that the weights are rounded to.
        n_words: Typed words.
        ngrams: Whether a row of an n-gram model of as many bytes follows each.
        known: A table of before: its rows of this format and so many words are not measured again.
        progress: Called before each run that is measured.
        keep: Called with the rows so far, behind each model that was measured.

    Raises:
        RecordError: none of the runs is finished.
        DataError: one of them reads no text.
    """
    records = [store.load(run.run_id) for run in runs if store.has(run.run_id)]
    finished = [record for record in records if record.outcome.status == "done"]
    if not finished:
        raise RecordError("no finished run to type with — train some of them first")
    # Labels tell texts apart among all runs, so they are given to all at once.
    labels, before = runs_table(finished)[list(OF_RUN)], _known_rows(known, format, n_words)
    rows: list[dict[str, Any]] = []
    for done, record in enumerate(finished):
        run, own = record.spec, before.get(record.spec.run_id, {})
        # An n-gram is of the bytes of its student: it is known where that one is.
        missing = [model for model in MODELS[: 1 + ngrams] if model not in own]
        if missing:
            progress(done, run)
        for model in missing:
            own[model] = _measured(model, run, store, own, format=format, n_words=n_words)
            keep(labels.merge(pd.DataFrame([*rows, *_in_order(own)]), on="run_id"))
        rows += _in_order(own)
    return labels.merge(pd.DataFrame(rows), on="run_id")


def _in_order(own: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [own[model] for model in MODELS if model in own]


def _measured(
    model: str, run: RunSpec, store: RunStore, own: Mapping[str, Mapping[str, Any]], *, format: str, n_words: int
) -> dict[str, Any]:
    if model == "student":
        return keyboard_of_run(run, store, format=format, n_words=n_words).row()
    return keyboard_of_ngram(run, store, int(own["student"]["weights_bytes"]), n_words=n_words).row()


def _known_rows(known: pd.DataFrame | None, format: str, n_words: int) -> dict[str, dict[str, dict[str, Any]]]:
    """What a table says of a run's student, and of the n-gram beside it, as it was measured."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    if known is None or not set(MEASURED) <= set(known):
        return found
    alike = (known["n_words"] == n_words) & (_formats(known) == format)
    for row in known.loc[alike, list(MEASURED)].fillna({"format": ""}).to_dict("records"):
        found.setdefault(row["run_id"], {})[row["model"]] = {str(name): value for name, value in row.items()}
    return {run_id: own for run_id, own in found.items() if "student" in own}


def with_known(table: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    """A table, and below it what one of before tells of other runs, formats and numbers of words."""
    if known is None or not set(MEASURED) <= set(known):
        return table
    return with_rows_of_before(table, known.fillna({"format": ""}), _keys)


def _keys(table: pd.DataFrame) -> list[tuple]:
    return list(zip(table["run_id"], table["model"], _formats(table), table["n_words"], strict=True))


def _formats(table: pd.DataFrame) -> pd.Series:
    """Of each student its own; an n-gram has none, and is held against the student of the row before."""
    return table["format"].where(table["model"] == "student").groupby(table["run_id"]).ffill()


def keyboard_of_run(
    run: RunSpec, store: RunStore, *, format: str = DEFAULT_FORMAT, n_words: int = WORDS
) -> KeyboardRow:
    """A trained student, its weights rounded as a format stores them."""
    stored = quantize(load_tensors(store, run), EXPORT_FORMATS[format].scheme)
    return _of_weights(stored.dequantize(), run, store, format, stored.n_bytes, n_words)


def keyboard_of_bundle(bundle: Bundle, store: RunStore, *, n_words: int = WORDS) -> KeyboardRow:
    """An exported student, its weights read back from the file.

    Raises:
        ExportError: if the file cannot be read.
        RecordError: if its run is not in the store, where the text lies that is typed.
    """
    run, format = store.load(bundle.manifest.run_id).spec, bundle.manifest.format
    n_bytes = weights_bytes(bundle.manifest.model, bundle.format.stored.storage)
    return _of_weights(bundle.read().tensors, run, store, format, n_bytes, n_words)


def keyboard_of_ngram(run: RunSpec, store: RunStore, n_bytes: int, *, n_words: int = WORDS) -> KeyboardRow:
    """An n-gram model of at most so many bytes, of as much real text as a run read."""
    sets = held_out(run, store).sets
    read = np.concatenate(open_text(_text_of(run), "train", store).maps)[: run.n_tokens]
    ngram = train_small_ngram(read, run.model.vocab_size, n_bytes)
    sequences = sets.real.sequences.reshape(-1, sets.real.sequences.shape[-1])
    begun = np.concatenate([with_bos(sequences, sets.real.bos), sequences[:, -1:]], axis=1)
    loss = -float(ngram.log_probs(begun)[:, 1:].mean())
    use = _typed_with(NgramKeyboard(ngram), run, store, n_words)
    return KeyboardRow(
        run_id=run.run_id,
        model="ngram",
        format="",
        weights_bytes=ngram_bytes(ngram),
        loss=loss,
        bits_per_byte=_in_bits(loss, run, store),
        use=use,
    )


def _of_weights(
    tensors: Mapping[str, np.ndarray], run: RunSpec, store: RunStore, format: str, n_bytes: int, n_words: int
) -> KeyboardRow:
    check_stop()
    check_finite(tensors, what=f"run {run.run_id}")
    student = from_tensors(run.model, tensors)
    use = _typed_with(StudentKeyboard(student), run, store, n_words)
    loss = evaluate(student, held_out(run, store).real).loss
    return KeyboardRow(
        run_id=run.run_id,
        model="student",
        format=format,
        weights_bytes=n_bytes,
        loss=loss,
        bits_per_byte=_in_bits(loss, run, store),
        use=use,
    )


def _in_bits(loss: float, run: RunSpec, store: RunStore) -> float:
    """Bits of a byte of text; every text has bytes behind its tokens."""
    return loss / math.log(2) / float(held_out(run, store).sets.bytes_per_token or math.nan)


def _typed_with(model: Model, run: RunSpec, store: RunStore, n_words: int) -> KeyboardUse:
    typed, spelling = _drawn(_text_of(run), store.root, context_of(run.model), run.model.vocab_size, n_words)
    return measure_keyboard(model, typed, spelling)


@lru_cache(maxsize=2)
def _drawn(source: TextSource, root: Path, context: int, vocab_size: int, n_words: int) -> tuple[TypedWords, Spelling]:
    """What the students of one source and context type, and how their tokens spell it."""
    store = RunStore(root)
    tokenizer = open_tokenizer(source, store)
    typed = typed_words(open_text(source, "held_out", store), tokenizer, context=context, n=n_words)
    # A token that marks what is read, as a teacher's text, spells nothing.
    marks = [b""] * (vocab_size - tokenizer.vocab_size)
    return typed, Spelling([*tokenizer.token_bytes, *marks])


def _text_of(run: RunSpec) -> TextSource:
    if not isinstance(run.data.source, TextSource):
        raise DataError(
            f"run {run.run_id} reads {run.data.source.label}, where nobody types words; ask of a run of text"
        )
    return run.data.source
