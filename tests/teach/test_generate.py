"""Text of a trained teacher: the same however often it is interrupted, never written twice, checked when it is read."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import scaling.teach.generate as generate
import scaling.teach.generators as generators
from scaling.accounting import kv_cache_bytes
from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.data.shards import open_shards
from scaling.data.text import measured_on, teacher_text_dir
from scaling.errors import DataError
from scaling.files import write_json
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import RunSpec
from scaling.teach.generate import ensure_teacher_text
from scaling.teach.generators import blocks_together, open_text_generator, rows_per_block
from scaling.train.checkpoint import save_student
from scaling.train.evaluate import evaluate
from scaling.train.student.model import Student, from_tensors, to_tensors

BLOCK = 8 * 16
"""Tokens of a block: eight sequences of the teacher's context."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, small_decoder):
    monkeypatch.setattr(generators, "MAX_ROWS", 8)


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.txt").write_text(f"Message {i}. " + "Peace and revenue. " * (20 + i), "utf-8")
    return str(folder / "*.txt")


@pytest.fixture
def make_run(texts):
    def make(teacher=None, *, context=16, tokens=300, seed=0, **decoding):
        chosen = {"kind": "trained", "run": teacher, **decoding} if teacher else {"kind": "real"}
        source = {"kind": "text", "corpus": texts, "tokenizer": {"kind": "bytes"}}
        return RunSpec.model_validate(
            {
                "model": {"vocab_size": 257, "width": 32, "n_layers": 1, "context": context},
                "data": {"source": source, "teacher": chosen, "seed": seed},
                "optim": {"batch_size": 2},
                "evaluation": {"tokens": 100},
                "tokens": tokens,
            }
        )

    return make


@pytest.fixture
def make_store(tmp_path, make_run):
    """Results folders that hold one trained teacher."""

    def make(name="results", status="done"):
        store, run = RunStore(tmp_path / name).prepare(), make_run()
        loss = 5.5 if status == "done" else None
        store.commit(RunRecord(spec=run, outcome=Outcome(status=status, loss=loss)))
        save_student(store.student_dir(run.run_id), Student(run.model, seed=1))
        return store

    return make


def text_of(spec, store):
    folder = teacher_text_dir(store, spec.data, seed=spec.data.seed, split="train", context=spec.model.context)
    return np.concatenate(open_shards(folder).maps)


def loss_on(card, spec):
    return card.loss_on(measured_on(spec, spec.data.source))


def count_blocks(monkeypatch):
    written, sample = [], generators.sample_sequences
    monkeypatch.setattr(generators, "sample_sequences", lambda *a, **k: written.append(1) or sample(*a, **k))
    return written


def test_a_student_reads_what_its_teacher_wrote_from_the_end_of_document_on(make_run, make_store):
    store, spec = make_store(), make_run(make_run())
    card, _ = ensure_teacher_text(spec, store, n_tokens=spec.n_tokens)
    assert card.tokens >= spec.n_tokens
    stream = open_stream(spec, store)
    batch = stream.batches(0, spec.steps)
    assert np.array_equal(batch.targets.ravel(), text_of(spec, store)[: spec.n_tokens])
    assert np.all(batch.inputs[..., 0] == 256)
    assert stream.n_unique_tokens(spec.steps) == spec.n_tokens


def test_a_killed_generation_ends_with_the_same_text(make_run, make_store, monkeypatch):
    spec = make_run(make_run())
    whole, _ = ensure_teacher_text(spec, make_store("whole"), n_tokens=5 * BLOCK)
    store, cards = make_store("killed"), iter(range(3))
    write_card = generate.write_card

    def dies_at_the_third_card(folder, card):
        if next(cards) == 2:
            raise KeyboardInterrupt
        write_card(folder, card)

    monkeypatch.setattr(generate, "write_card", dies_at_the_third_card)
    with pytest.raises(KeyboardInterrupt):
        ensure_teacher_text(spec, store, n_tokens=5 * BLOCK)
    monkeypatch.setattr(generate, "write_card", write_card)
    written = count_blocks(monkeypatch)
    resumed, _ = ensure_teacher_text(spec, store, n_tokens=5 * BLOCK)
    assert resumed.hash == whole.hash
    assert len(written) == 5 - 2 + 1, "three blocks of the text, one held out"


DIES_WITHIN_THE_THIRD_BLOCK = """
import os, signal, sys
import scaling.teach.generators as generators
import scaling.teach.generate as generate
import scaling.train.student.decode as decode
from scaling.records import RunStore
from scaling.spec import RunSpec

generators.MAX_ROWS, decode.GROWTH_STEPS = 8, 1
written, write_shard = [], generate.write_shard

def dies(*given):
    written.append(write_shard(*given))
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return written[-1]

generate.write_shard = dies
generate.ensure_teacher_text(RunSpec.model_validate_json(sys.argv[1]), RunStore(sys.argv[2]), n_tokens=int(sys.argv[3]))
"""


def test_a_process_that_is_killed_leaves_what_another_ends_with_the_same_hash(make_run, make_store):
    spec = make_run(make_run())
    whole, _ = ensure_teacher_text(spec, make_store("whole"), n_tokens=5 * BLOCK)
    store = make_store("killed")
    command = [
        sys.executable,
        "-c",
        DIES_WITHIN_THE_THIRD_BLOCK,
        spec.canonical_json(),
        str(store.root),
        str(5 * BLOCK),
    ]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    resumed, _ = ensure_teacher_text(spec, store, n_tokens=5 * BLOCK)
    assert resumed.hash == whole.hash


def test_nothing_is_written_twice_and_a_longer_text_begins_with_the_shorter(make_run, make_store, monkeypatch):
    store, spec = make_store(), make_run(make_run())
    ensure_teacher_text(spec, store, n_tokens=2 * BLOCK)
    short, written = text_of(spec, store), count_blocks(monkeypatch)
    ensure_teacher_text(spec, store, n_tokens=2 * BLOCK)
    ensure_teacher_text(spec, store, n_tokens=10)
    assert not written
    ensure_teacher_text(spec, store, n_tokens=3 * BLOCK)
    assert len(written) == 1
    assert np.array_equal(text_of(spec, store)[: 2 * BLOCK], short)


def test_a_torn_shard_alone_is_written_again(make_run, make_store, monkeypatch):
    store, spec = make_store(), make_run(make_run())
    card, _ = ensure_teacher_text(spec, store, n_tokens=3 * BLOCK)
    path = teacher_text_dir(store, spec.data, seed=0, split="train", context=16) / card.shards[1].file
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="shard-00001.bin missing or damaged"):
        open_stream(spec, store)
    written = count_blocks(monkeypatch)
    assert ensure_teacher_text(spec, store, n_tokens=3 * BLOCK)[0].hash == card.hash
    assert len(written) == 1


def test_held_out_text_other_seeds_and_other_decodings_are_other_texts(make_run, make_store):
    store, teacher = make_store(), make_run()
    hashes = set()
    for spec in (make_run(teacher), make_run(teacher, seed=1), make_run(teacher, temperature=0.5)):
        cards = ensure_teacher_text(spec, store, n_tokens=100)
        hashes |= {card.hash for card in cards}
    assert len(hashes) == 5, "both seeds share one held-out text"


def test_the_card_says_who_wrote_how_and_how_well(make_run, make_store):
    store, teacher = make_store(), make_run()
    _, exact = ensure_teacher_text(make_run(teacher), store, n_tokens=10)
    _, cut = ensure_teacher_text(make_run(teacher, top_k=5), store, n_tokens=10)
    assert exact.teacher_run == cut.teacher_run == teacher.run_id
    assert loss_on(exact, teacher) == 5.5
    assert loss_on(cut, teacher) is None, "what it writes is no longer its own distribution"
    assert exact.sequence_tokens == 16
    assert cut.decoding == {"temperature": 1.0, "top_k": 5, "top_p": None}
    assert "language model" in exact.notice
    assert exact.to_json()["coverage_lost_by"] == []
    assert cut.to_json()["coverage_lost_by"] == ["top_k"]


def test_students_are_measured_on_real_and_on_teacher_text(make_run, make_store):
    store, teacher = make_store(), make_run()
    spec = make_run(teacher)
    ensure_teacher_text(spec, store, n_tokens=10)
    sets = evaluation_sets(spec, store)
    assert np.array_equal(sets.real.sequences, evaluation_sets(teacher, store).real.sequences)
    assert sets.teacher.n_scored >= 100
    assert sets.teacher_loss == 5.5


CHANGES = {
    "corpus": {"data": {"source": {"corpus": "other/*.txt"}}},
    "context": {"model": {"context": 8}},
    "tokens": {"evaluation": {"tokens": 40}},
    "seed": {"evaluation": {"seed": 3, "tokens": 40}},
}


def changed(spec, changes, tmp_path):
    fields = spec.model_dump()
    for part, own in changes.items():
        if "source" in own:
            own = {"source": fields["data"]["source"] | {"corpus": str(tmp_path / own["source"]["corpus"])}}
        fields[part] |= own
    return RunSpec.model_validate(fields)


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_teacher_s_loss_is_that_on_the_text_that_its_student_is_measured_on(make_run, make_store, tmp_path, changes):
    (tmp_path / "other").mkdir()
    for i in range(6):
        (tmp_path / "other" / f"{i}.txt").write_text(f"{i} " + "0123456789 " * 40, "utf-8")
    store, teacher = make_store(), make_run()
    first, spec = make_run(teacher), changed(make_run(teacher), changes, tmp_path)
    network = Student(teacher.model, seed=1)
    # Whoever was there first, and whichever text both share.
    for one in (first, spec, first):
        ensure_teacher_text(one, store, n_tokens=10)
    assert evaluation_sets(first, store).teacher_loss == 5.5
    sets = evaluation_sets(spec, store)
    assert sets.teacher_loss == pytest.approx(evaluate(network, sets.real).loss, abs=1e-6)


def test_an_ngram_s_loss_is_that_on_the_set_of_each_of_its_students(make_run, tmp_path):
    store, losses = RunStore(tmp_path / "results").prepare(), {}
    for tokens in (16, 200):
        fields = make_run().model_dump()
        fields["data"] |= {"teacher": {"kind": "ngram", "order": 2}}
        spec = RunSpec.model_validate(fields | {"evaluation": {"tokens": tokens}})
        ensure_teacher_text(spec, store, n_tokens=10)
        losses[tokens] = evaluation_sets(spec, store).teacher_loss
        assert losses[tokens] == open_text_generator(spec, store).loss
    assert losses[16] != losses[200]


def test_a_card_that_does_not_say_what_its_loss_was_measured_on_is_still_read(make_run, make_store):
    store, spec = make_store(), make_run(make_run())
    _, card = ensure_teacher_text(spec, store, n_tokens=10)
    folder = teacher_text_dir(store, spec.data, seed=0, split="held_out", context=16)
    told = card.to_json() | {"teacher_loss": 4.25, "unique_tokens": card.tokens}
    del told["teacher_losses"]
    write_json(folder / "card.json", told)
    assert evaluation_sets(spec, store).teacher_loss == 4.25
    ensure_teacher_text(spec, store, n_tokens=10)
    assert evaluation_sets(spec, store).teacher_loss == 5.5


def test_a_student_with_a_shorter_context_reads_the_same_text_in_pieces(make_run, make_store):
    store, spec = make_store(), make_run(make_run(), context=6, tokens=120)
    ensure_teacher_text(spec, store, n_tokens=spec.n_tokens)
    text = text_of(spec, store).reshape(-1, 8, 16)
    read = open_stream(spec, store).sequences.read(0, 20)
    assert np.array_equal(read[:8], text[0, :, :6])
    assert np.array_equal(read[8:16], text[0, :, 6:12])
    assert np.array_equal(read[16:], text[1, :4, :6])


def test_more_than_was_written_is_refused(make_run, make_store):
    store, spec = make_store(), make_run(make_run())
    ensure_teacher_text(spec, store, n_tokens=10)
    with pytest.raises(DataError, match=f"holds {BLOCK} tokens of the teacher"):
        open_stream(spec, store).batches(0, 100)


def test_an_ngram_teacher_writes_for_its_students_and_is_measured_on_their_set(make_run, tmp_path):
    store = RunStore(tmp_path / "results").prepare()
    losses = []
    for order in (1, 3):
        spec = make_run()
        data = spec.data.model_dump() | {"teacher": {"kind": "ngram", "order": order}}
        spec = RunSpec.model_validate(spec.model_dump() | {"data": data})
        _, card = ensure_teacher_text(spec, store, n_tokens=spec.n_tokens)
        assert open_stream(spec, store).batches(0, spec.steps).targets.max() < 257
        assert evaluation_sets(spec, store).teacher_loss == loss_on(card, spec)
        losses.append(loss_on(card, spec))
    assert losses[1] < losses[0] < np.log(257)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("absent", "not trained yet"),
        ("diverged", "ended as diverged; change its run"),
        ("context", "has a context of 16 tokens, the student one of 32"),
    ],
)
def test_a_teacher_that_cannot_serve_is_refused_with_a_cure(make_run, make_store, tmp_path, problem, message):
    if problem == "absent":
        store = RunStore(tmp_path / "empty").prepare()
    else:
        store = make_store(status="diverged" if problem == "diverged" else "done")
    spec = make_run(make_run(), context=32 if problem == "context" else 16)
    with pytest.raises(DataError, match=message):
        ensure_teacher_text(spec, store, n_tokens=10)


def test_blocks_shrink_for_teachers_whose_cache_is_large(make_run, monkeypatch):
    model = make_run().model
    monkeypatch.setattr(generators, "MAX_ROWS", 256)
    assert rows_per_block(model) == 256
    large = model.model_copy(update={"n_layers": 24, "n_kv_heads": 16, "head_width": 64, "context": 4096})
    assert rows_per_block(large) == 1
    monkeypatch.setattr(generators, "CACHE_BYTES", 1 << 35)
    assert rows_per_block(large) == 32


@pytest.mark.slow
def test_an_accelerator_writes_blocks_together_and_the_text_is_that_of_one_at_a_time(make_run, make_store, monkeypatch):
    spec = make_run(make_run())
    expected, _ = ensure_teacher_text(spec, make_store("alone"), n_tokens=5 * BLOCK)
    store, shapes, sample = make_store("together"), [], generators.sample_sequences
    cache = kv_cache_bytes(spec.model, 16, value_bytes=4)
    monkeypatch.setattr(generators, "accelerator_bytes", lambda: 25 * cache / generators.CACHE_SHARE)
    monkeypatch.setattr(
        generators, "sample_sequences", lambda *a, **k: shapes.append((rows := sample(*a, **k)).shape) or rows
    )
    card, _ = ensure_teacher_text(spec, store, n_tokens=5 * BLOCK)
    # Two blocks at a time; the sixth, and one of the held-out ones, are dropped.
    assert shapes == [(16, 16)] * 4
    assert card.hash == expected.hash
    path = teacher_text_dir(store, spec.data, seed=0, split="train", context=16) / card.shards[1].file
    path.write_bytes(path.read_bytes()[:-2])
    assert ensure_teacher_text(spec, store, n_tokens=5 * BLOCK)[0].hash == card.hash
    assert ensure_teacher_text(spec, store, n_tokens=6 * BLOCK)[0].tokens == 6 * BLOCK


def test_an_accelerator_writes_as_many_blocks_together_as_fill_it_and_fit(make_run):
    model = make_run().model
    row = kv_cache_bytes(model, model.context, value_bytes=4)
    assert blocks_together(model, rows=64, memory=80 << 30) == generators.ROWS_TOGETHER // 64
    assert blocks_together(model, rows=64, memory=round(200 * row / generators.CACHE_SHARE)) == 2
    assert blocks_together(model, rows=64, memory=row) == 1


def test_a_teacher_whose_weights_are_not_finite_generates_nothing(make_run, make_store):
    store, run = make_store(), make_run()
    broken = to_tensors(Student(run.model, seed=1))
    broken["output_norm.weight"] = np.full_like(broken["output_norm.weight"], np.nan)
    shutil.rmtree(store.student_dir(run.run_id))
    save_student(store.student_dir(run.run_id), from_tensors(run.model, broken))
    spec = make_run(run)
    with pytest.raises(DataError, match=f"teacher {run.run_id}: output_norm.weight holds weights that are not finite"):
        ensure_teacher_text(spec, store, n_tokens=100)
    assert not list(store.root.glob("corpora/*/shard*.bin"))
