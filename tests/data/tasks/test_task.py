"""A task as a source: what is read and scored of it, and that a run of it is measured on what it never read."""

from __future__ import annotations

import typing

import numpy as np
import pytest

from scaling.data.batches import open_stream
from scaling.data.eval_sets import EvalSet
from scaling.data.evaluation import evaluation_sets
from scaling.data.tasks import TaskSequences, open_task, pcfg_set, scan
from scaling.records import RunStore
from scaling.spec import PcfgSetSource, RunSpec, ScanSource
from scaling.train.evaluate import Scored, exact_match
from scaling.train.loop import train_trunk
from scaling.train.student.answers import answerer
from scaling.train.student.decode import FREE, complete
from scaling.train.student.model import Student
from tests.streams import batch_of

SOURCES = [ScanSource(kind="scan", split="length"), PcfgSetSource(kind="pcfg_set", n_examples=1000, letters=10)]


def run_of(source, **changed) -> RunSpec:
    model = {"width": 32, "n_layers": 1, "vocab_size": source.vocab_size, "context": source.sequence_tokens}
    fields = {
        "model": model,
        "data": {"source": source.model_dump()},
        "optim": {"batch_size": 8, "warmup_tokens": 1024},
        "evaluation": {"tokens": 2000},
        "tokens": 20 * 8 * source.sequence_tokens,
    }
    return RunSpec.model_validate(fields | changed)


def text_of(task, sequence) -> str:
    words = (*task.words, "OUT", "END", "BOS")
    return " ".join(words[token] for token in sequence).replace(" BOS", "")


def test_the_splits_of_a_source_are_those_of_its_language():
    for source, splits in ((ScanSource, scan.SPLITS), (PcfgSetSource, pcfg_set.SPLITS)):
        assert set(typing.get_args(source.model_fields["split"].annotation)) == set(splits)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.kind)
def test_what_is_learned_asked_and_kept_apart_has_nothing_in_common(source):
    task = open_task(source)
    parts = [{tuple(row) for row in part} for part in (task.taught, task.asked, task.test)]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    assert len(task.asked) == pytest.approx(0.05 * (len(task.taught) + len(task.asked)), abs=1)


def test_a_sequence_is_a_question_and_its_answer_which_alone_is_scored():
    task = open_task(SOURCES[0])
    sequence = next(row for row in task.taught if text_of(task, row).startswith("turn opposite left twice OUT"))
    actions = " ".join(["I_TURN_LEFT"] * 4)
    assert text_of(task, sequence) == f"turn opposite left twice OUT {actions} END"
    answer = task.is_answer(sequence)
    assert text_of(task, sequence[answer]) == f"{actions} END"
    targets = TaskSequences(task, seed=0).targets(sequence)
    assert np.array_equal(targets[answer], sequence[answer])
    assert np.all(targets[~answer] == -1)


def test_a_bare_primitive_that_is_repeated_on_purpose_is_never_asked():
    task = open_task(ScanSource(kind="scan", split="jump", held_out=0.5))
    assert sum(text_of(task, row) == "jump OUT I_JUMP END" for row in task.taught) == scan.REPEATED["jump"]
    assert not any(text_of(task, row).startswith("jump") for row in task.asked)


def test_an_exception_is_always_taught_never_held_out():
    source = PcfgSetSource(kind="pcfg_set", split="overgeneralisation", n_examples=3000, letters=10, held_out=0.5)
    task = open_task(source)
    exceptions, taught = ({tuple(row) for row in part} for part in (task.exceptions, task.taught))
    assert len(exceptions) >= len(pcfg_set.EXCEPTIONS)
    assert exceptions <= taught
    questions = [
        [row[: row.tolist().index(task.out)].tolist() for row in part] for part in (task.exceptions, task.test)
    ]
    assert questions[0] == questions[1]
    assert not exceptions & {tuple(row) for row in task.test}


def test_every_epoch_reads_each_example_once_in_another_order():
    sequences = TaskSequences(open_task(SOURCES[1]), seed=3)
    n = sequences.n_distinct
    first, second = (sequences.read(epoch * n, n) for epoch in (0, 1))
    assert np.array_equal(np.unique(first, axis=0), np.unique(sequences.task.taught, axis=0))
    assert np.array_equal(np.unique(first, axis=0), np.unique(second, axis=0))
    assert not np.array_equal(first, second)
    assert np.array_equal(sequences.read(n - 3, 6), np.concatenate([first[-3:], second[:3]]))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.kind)
def test_a_run_is_asked_both_kinds_and_scored_on_answers(source, tmp_path):
    spec, task = run_of(source), open_task(source)
    store = RunStore(tmp_path)
    batch = batch_of(open_stream(spec, store), 0)
    assert np.all((batch.targets >= 0).sum(1) >= 2)
    assert np.all(batch.inputs[:, 0] == task.bos)
    sets = evaluation_sets(spec, store)
    for found, part in ((sets.real, task.asked), (sets.ood, task.test)):
        known = {tuple(row) for row in part}
        assert all(tuple(row) in known for row in found.sequences.reshape(-1, source.sequence_tokens))
        assert found.n_scored == task.is_answer(found.sequences).sum()


@pytest.mark.slow
def test_exact_match_counts_what_greedy_decoding_writes():
    """Answers that a student wrote itself, token by token, of which one in four then has one token changed."""
    source = SOURCES[0]
    spec, task = run_of(source), open_task(source)
    student, n, length = Student(spec.model, seed=1), 32, 4
    written = np.full((n, source.sequence_tokens), task.bos, np.int32)
    written[:, :9] = np.random.default_rng(0).integers(task.out, size=(n, 9))
    written[:, 9] = task.out
    written[:, 10 : 10 + length] = FREE
    written = complete(student, written, bos=task.bos).copy()
    changed = np.random.default_rng(1).permutation(n) < n // 4
    place = 10 + np.arange(n) % length
    written[changed, place[changed]] = (written[changed, place[changed]] + 1) % task.out
    at = np.zeros(source.sequence_tokens, bool)
    at[10 : 10 + length] = True
    right, se = exact_match(student, [Scored.of(batch) for batch in EvalSet(written[None], task.bos, at)])
    assert right == 0.75
    assert se == pytest.approx(np.sqrt(0.75 * 0.25 / n), rel=0.1)


def test_an_answer_is_what_is_written_between_question_and_end(monkeypatch):
    """By one who writes the question once more, and ends it only where it begins with `copy`."""
    task, student = open_task(SOURCES[1]), Student(run_of(SOURCES[1]).model)
    rows_asked = []

    def complete(student, given, *, bos):
        rows_asked.append(len(given))
        written = np.where(given == FREE, task.bos, given)
        for row, asked in zip(written, given, strict=True):
            n = (asked != FREE).sum()
            again = [*asked[: n - 1], task.end] if n and task.words[asked[0]] == "copy" else asked[: max(n - 1, 0)]
            row[n : n + len(again)] = again[: len(row) - n]
        return written

    monkeypatch.setattr("scaling.train.student.answers.complete", complete)
    questions = [("copy", "A1", "A2"), ("echo", "A3"), ("copy",) * (SOURCES[1].context + 1), *[("copy", "A4")] * 100]
    found = answerer(student, task)(questions)
    assert found == [("copy", "A1", "A2"), None, None, *[("copy", "A4")] * 100]
    assert len(set(rows_asked)) == 1, "one program whatever is asked"


@pytest.mark.slow
def test_a_trained_run_says_how_many_questions_it_answers(tmp_path):
    # The letters' copies are learned within a minute of training; here it is enough that the columns are filled.
    spec = run_of(SOURCES[1])
    (record,) = train_trunk([spec], RunStore(tmp_path))
    found = record.outcome
    assert found.status == "done"
    assert 0 <= found.exact_match <= 1
    assert found.exact_match_se > 0
    # Of 25 words the answers use 10 and the end: guessing among them would cost ln 11 nats, chance over all ln 28.
    assert 1.5 < found.loss < np.log(28)
    assert 1.5 < found.ood_loss < np.log(28) + 0.5
    assert found.bits_per_byte is None
