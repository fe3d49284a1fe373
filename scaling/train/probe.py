"""What a student knows without being asked: of two sentences, whether it finds the right one likelier.

Zero-shot by likelihood: ``ln f(good) > ln f(bad)``, each the sum over its tokens behind the mark that begins a
sequence. The control reads the words before the choice in random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from scaling.data.eval_sets import share_of, standard_error
from scaling.data.tasks.minimal_pairs import PHENOMENA, Pair, minimal_pairs
from scaling.data.text import AnyTokenizer, open_tokenizer
from scaling.errors import DataError, RecordError
from scaling.records import RunStore
from scaling.spec import TextSource
from scaling.train.evaluate import token_log_probs
from scaling.train.finished import finished_student
from scaling.train.step import params_of
from scaling.train.student.model import Student

PAIRS = 400
"""Of each phenomenon, at most; pinned, so that all students are asked the same."""
CHANCE = 0.5


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """The choices of one kind.

    Attributes:
        phenomenon: What must be known.
        held_out: What keeps the pairs from text made by the same grammar: ``taught``, ``template``, ``word`` or both.
        n: Pairs.
        right: Share in which the right sentence is likelier; equal ones count half.
        right_se: Its standard error over pairs, as if they were independent; they share words and templates.
        control: The same share with the context shuffled.
        control_se: Its standard error.
        chance: What the words alone give.
    """

    phenomenon: str
    held_out: str
    n: int
    right: float
    right_se: float
    control: float
    control_se: float
    chance: float = CHANCE


def probe_run(run_id: str, store: RunStore, *, n_pairs: int = PAIRS) -> list[ProbeRow]:
    """Ask the student of a finished run all minimal pairs.

    Raises:
        RecordError: there is no such run, or it is not finished.
        DataError: it reads no text, or its context is too short for a sentence.
        TrainError: its weights cannot be read.
    """
    if not store.has(run_id):
        raise RecordError(f"{run_id}: no finished run of that id in {store.root} — name a folder of {store.root}/runs")
    spec = store.load(run_id).spec
    source = spec.data.source
    if not isinstance(source, TextSource):
        raise DataError(f"run {run_id} reads {source.label}, which has no sentences; probe a run whose source is text")
    return probe(finished_student(spec, store), open_tokenizer(source, store), n_pairs=n_pairs)


def probe(student: Student, tokenizer: AnyTokenizer, *, n_pairs: int = PAIRS) -> list[ProbeRow]:
    """Shares of right choices, by phenomenon and by what is held out."""
    rows = []
    for phenomenon in PHENOMENA:
        pairs = sorted(minimal_pairs(phenomenon, n_pairs), key=lambda pair: pair.held_out)
        right = choices(student, tokenizer, pairs)
        control = choices(student, tokenizer, [pair.shuffled(seed=0) for pair in pairs])
        start = 0
        for held_out, group in groupby(pairs, key=lambda pair: pair.held_out):
            n = len(list(group))
            part = slice(start, start := start + n)
            (share, se), (other, other_se) = map(share_of, (right[part], control[part]))
            rows.append(
                ProbeRow(
                    phenomenon=phenomenon,
                    held_out=held_out,
                    n=n,
                    right=share,
                    right_se=se,
                    control=other,
                    control_se=other_se,
                )
            )
    return rows


def shares_of(rows: Sequence[ProbeRow]) -> dict[str, float]:
    """Shares of right choices by phenomenon, by what is held out, and of all: ``NAME``, ``NAME_se``, ``NAME_control``.

    Blanks in names become underlines: ``template_and_word``.
    """
    found = {}
    for name in dict.fromkeys(["all", *(row.phenomenon for row in rows), *(row.held_out for row in rows)]):
        own = [row for row in rows if name in ("all", row.phenomenon, row.held_out)]
        n = sum(row.n for row in own)
        key = name.replace(" ", "_")
        found[key] = sum(row.n * row.right for row in own) / n
        found[f"{key}_se"] = standard_error(found[key], n)
        found[f"{key}_control"] = sum(row.n * row.control for row in own) / n
    return found


def choices(student: Student, tokenizer: AnyTokenizer, pairs: Sequence[Pair]) -> np.ndarray:
    """float64[n]: 1 where the right sentence is likelier, ½ where both are alike, 0 else."""
    scores = sentence_log_probs(student, tokenizer, [one for pair in pairs for one in (pair.good, pair.bad)])
    good, bad = scores.reshape(-1, 2).T
    return (np.sign(good - bad) + 1) / 2


def sentence_log_probs(student: Student, tokenizer: AnyTokenizer, sentences: Sequence[str]) -> np.ndarray:
    """``ln f`` of sentences, each the first of a document: float64[n]."""
    rows = list(tokenizer.encode_all(sentences))
    context = student.model.context
    longest = max(len(row) for row in rows)
    if longest > context:
        raise DataError(
            f"a sentence of {longest} tokens does not fit a context of {context}; probe a student with a longer one"
        )
    # One width for all phenomena: a program is compiled once.
    tokens = np.full((len(rows), context), tokenizer.eos_id, np.int32)
    for into, row in zip(tokens, rows, strict=True):
        into[: len(row)] = row
    begun = np.roll(tokens, 1, axis=1)
    begun[:, 0] = tokenizer.eos_id
    read = np.arange(context) < np.array([len(row) for row in rows])[:, None]
    log_f = token_log_probs(student.model, params_of(student), begun, tokens)
    return np.where(read, log_f, 0.0).sum(1, dtype=np.float64)
