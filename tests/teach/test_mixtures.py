"""Real text among a teacher's: what is written, what is read, and what a student is measured on."""

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.data.mixing import generated_tokens, unmixed
from scaling.data.shards import open_shards
from scaling.data.text import open_text, open_tokenizer, teacher_text_dir
from scaling.data.worlds import divergence
from scaling.predict.phones.footprint import tokenizer_layout
from scaling.spec import DataSpec, RunSpec
from scaling.teach.teachers import prepare
from tests.streams import batch_of

pytest.importorskip("tokenizers", reason="byte-level BPE is in the extra [text]")


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    rng = np.random.default_rng(0)
    words = ["the", "people", "of", "a", "nation", "and", "its", "treaty", "with", "peace", "revenue", "war"]
    for i in range(30):
        (folder / f"{i}.txt").write_text(f"Message {i}. " + " ".join(rng.choice(words, 300)))
    return str(folder / "*.txt")


def run_spec(texts, *, real=0.25, source_token=False, tokens=20_000):
    source = {"kind": "text", "corpus": texts, "tokenizer": {"kind": "bpe", "vocab_size": 300}}
    teacher = {"kind": "mixture", "real": real, "teacher": {"kind": "ngram", "order": 2}, "source_token": source_token}
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 300 + source_token, "width": 32, "context": 16},
            "data": {"source": source, "teacher": teacher},
            "evaluation": {"tokens": 800},
            "optim": {"batch_size": 8},
            "tokens": tokens,
        }
    )


def windows(folder, context=16):
    return {bytes(row) for one in folder.maps for row in one[: len(one) // context * context].reshape(-1, context)}


@pytest.mark.parametrize("source_token", [False, True])
def test_real_windows_and_written_sequences_are_mixed_in_their_share(texts, store, source_token):
    spec = run_spec(texts, source_token=source_token, tokens=60_000)
    prepare([spec], store)
    stream = open_stream(spec, store)
    batches = stream.batches(0, spec.steps)
    folder = teacher_text_dir(store, spec.data, seed=0, split="train", context=16)
    written = windows(open_shards(folder))
    rows = batches.targets.reshape(-1, 16).astype(np.uint16)
    is_written = np.array([bytes(row) in written for row in rows])
    assert 1 - is_written.mean() == pytest.approx(0.25, abs=0.03)
    begin = batches.inputs[..., 0].ravel()
    assert set(np.unique(begin)) == ({299, 300} if source_token else {299})
    if source_token:
        assert np.array_equal(begin == 300, is_written)
    n_real = len(rows) - is_written.sum()
    n_windows = stream.sequences.parts[0].n_distinct
    assert n_real > 1.5 * n_windows, "real text is read more than once, and counted once"
    assert stream.n_unique_tokens(spec.steps) == (is_written.sum() + n_windows) * 16
    assert np.array_equal(batch_of(stream, 7).targets, batches.targets[7])


def test_no_more_is_written_than_is_read_and_all_shares_read_one_text(texts, store):
    folders = []
    for real in (0.75, 0.5):
        spec = run_spec(texts, real=real)
        assert generated_tokens(spec) == pytest.approx((1 - real) * spec.n_tokens, rel=0.06)
        folders.append(teacher_text_dir(store, spec.data, seed=0, split="train", context=16))
        assert folders[-1] == teacher_text_dir(store, unmixed(spec).data, seed=0, split="train", context=16)
    assert folders[0] == folders[1]


def test_a_mixture_is_measured_on_real_text_and_on_its_own(texts, store):
    spec = run_spec(texts, real=0.5)
    prepare([spec], store)
    sets = evaluation_sets(spec, store)
    held_out = windows(open_text(spec.data.source, "held_out", store))
    rows = sets.teacher.sequences.reshape(-1, 16).astype(np.uint16)
    assert all(bytes(row) in held_out for row in sets.real.sequences.reshape(-1, 16).astype(np.uint16))
    assert np.mean([bytes(row) in held_out for row in rows]) == pytest.approx(0.5, abs=0.05)
    assert sets.teacher_loss is None


def test_a_marked_mixture_is_measured_as_real_text_and_exported_with_its_token(texts, store):
    spec = run_spec(texts, source_token=True)
    prepare([spec], store)
    sets = evaluation_sets(spec, store)
    assert (sets.real.bos, sets.teacher.bos) == (299, 300)
    layout, plain = tokenizer_layout(spec.data, store), open_tokenizer(spec.data.source, store).to_gguf()
    assert layout.tokens[:-1] == plain.tokens
    assert layout.token_types[-1] == 3
    assert (len(layout.tokens), layout.bos_id, layout.eos_id) == (301, 299, 299)


def test_a_marked_mixture_in_a_world_costs_nothing_that_is_asked_for(store):
    teacher = {"kind": "mixture", "real": 0.25, "teacher": {"kind": "noise", "rate": 0.4}}
    specs = [
        RunSpec.model_validate(
            {
                "model": {"vocab_size": 65 + marked, "width": 32, "context": 40},
                "data": {"source": {"kind": "w0"}, "teacher": teacher | {"source_token": marked}},
                "evaluation": {"tokens": 4000},
                "tokens": 1000,
            }
        )
        for marked in (False, True)
    ]
    plain, told = (evaluation_sets(spec, store) for spec in specs)
    assert plain.delta_coverage + plain.delta_noise > 0.01
    assert told.delta_coverage == told.delta_noise == divergence(specs[1].data.source, specs[1].data.teacher).total == 0
    assert told.teacher_loss == told.entropy == pytest.approx(plain.entropy)
    assert np.array_equal(told.real.sequences, plain.real.sequences)
    batch = next(iter(told.teacher))
    assert np.all(batch.inputs[:, 0] == 65)
    assert batch.q.shape[-1] == batch.p.shape[-1] == 66
    assert np.all(batch.q[..., 65] == 0)
    assert all(batch.q is None for batch in told.real)


def test_a_sweep_of_mixtures_gives_its_models_the_vocabulary_they_need(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "name: mixed\nbase:\n  model: {width: 32}\n  data:\n    source: {kind: w0}\n    teacher: {kind: mixture, "
        "real: 0.5, teacher: {kind: noise, rate: 0.2}, source_token: true}\ngrid:\n  tokens: [10k]\n"
    )
    (run,) = expand(load_sweep(path))
    assert run.model.vocab_size == run.data.vocab_size == 66


def test_a_teacher_that_was_told_apart_itself_cannot_write():
    taught = {
        "model": {"vocab_size": 258, "width": 32, "context": 16},
        "data": {
            "source": {"kind": "text", "tokenizer": {"kind": "bytes"}},
            "teacher": {"kind": "mixture", "real": 0.5, "teacher": {"kind": "ngram"}, "source_token": True},
        },
        "tokens": 1000,
    }
    with pytest.raises(ValidationError, match="was trained with a source token itself"):
        DataSpec.model_validate({"source": taught["data"]["source"], "teacher": {"kind": "trained", "run": taught}})


@pytest.mark.parametrize("count", [2, 8])
def test_processes_share_a_mixture_without_overlap(texts, store, count):
    spec = run_spec(texts, source_token=True)
    prepare([spec], store)
    whole = open_stream(spec, store).batches(3, 4)
    parts = [open_stream(spec, store).shard(i, count).batches(3, 4) for i in range(count)]
    for name in ("inputs", "targets"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts], axis=1), getattr(whole, name))
