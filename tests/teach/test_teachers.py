"""Preparation of what streams read: teachers are trained and write before their students need them."""

import pytest

import scaling.teach.generators as generators
from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.errors import DataError
from scaling.spec import RunSpec
from scaling.teach import teachers


@pytest.fixture
def make_run(tmp_path):
    for i in range(6):
        (tmp_path / f"{i}.txt").write_text(f"Message {i}. " + "Peace and revenue. " * (20 + i), "utf-8")

    def make(teacher=None, *, context=16, tokens=128):
        source = {"kind": "text", "corpus": str(tmp_path / "*.txt"), "tokenizer": {"kind": "bytes"}}
        chosen = {"kind": "trained", "run": teacher} if teacher else {"kind": "real"}
        return RunSpec.model_validate(
            {
                "model": {"vocab_size": 257, "width": 32, "n_layers": 1, "context": context},
                "data": {"source": source, "teacher": chosen},
                "optim": {"batch_size": 2},
                "evaluation": {"tokens": 100},
                "tokens": tokens,
            }
        )

    return make


@pytest.mark.slow
@pytest.mark.usefixtures("small_decoder")
def test_a_chain_of_teachers_is_trained_and_writes_enough_for_every_student(make_run, store, monkeypatch):
    monkeypatch.setattr(generators, "MAX_ROWS", 8)
    teacher = make_run(make_run(), tokens=160)
    students = [make_run(teacher, tokens=200), make_run(teacher, tokens=600), make_run(teacher, context=7, tokens=900)]
    seen = []
    teachers.prepare(students, store, seen.append)
    assert store.load(teacher.run_id).outcome.status == "done"
    assert seen
    for student in students:
        open_stream(student, store).batches(0, student.steps)
        sets = evaluation_sets(student, store)
        own = store.load(teacher.run_id).outcome.loss
        assert sets.teacher_loss == (own if student.model.context == 16 else pytest.approx(own, abs=0.1))
    before = len(seen)
    teachers.prepare(students, store, seen.append)
    assert len(seen) == before, "nothing was left to do"


def of_source(spec, **fields):
    source = spec.data.source.model_copy(update=fields)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"source": source})})


@pytest.mark.parametrize("what", ["teacher", "start", "start of the teacher", "other text"])
def test_text_that_was_read_in_training_is_not_measured_on_whoever_read_it(make_run, store, tmp_path, what):
    # The same files by another name: which documents both have is known only when they are read.
    files = str(tmp_path / "[0-2].txt")
    reader, run = of_source(make_run(), corpus=files), of_source(make_run(), held_out=0.8)
    fields = run.model_dump()
    if what == "other text":
        fields = make_run().model_dump()
        fields["evaluation"]["ood"] = {"corpus": files, "held_out": 0.6}
    elif what == "start":
        fields["start_from"] = reader
    else:
        teacher = reader if what == "teacher" else run.model_copy(update={"start_from": reader})
        fields["data"]["teacher"] = {"kind": "trained", "run": teacher}
    with pytest.raises(DataError, match=r"\d of the \d documents that .* would be read in training and measured on"):
        teachers.prepare([RunSpec.model_validate(fields)], store)


@pytest.mark.parametrize("where", ["teacher", "mixture", "start"])
def test_who_holds_out_less_than_its_student_is_refused_when_it_is_asked_for(make_run, where):
    def asked(held_out):
        fields, run = of_source(make_run(), held_out=0.2).model_dump(), of_source(make_run(), held_out=held_out)
        teacher = {"kind": "trained", "run": run}
        if where == "start":
            return RunSpec.model_validate(fields | {"start_from": run})
        if where == "mixture":
            teacher = {"kind": "mixture", "real": 0.5, "teacher": teacher}
        fields["data"]["teacher"] = teacher
        return RunSpec.model_validate(fields)

    assert {asked(held_out).run_id for held_out in (0.2, 0.5)}
    with pytest.raises(ValueError, match=r"holds out 0.1 of .*, the student 0.2: .* held_out of at least 0.2"):
        asked(0.1)


def test_worlds_need_no_preparation(make_run, store):
    world = {"source": {"kind": "w0"}, "teacher": {"kind": "real"}}
    teachers.prepare([RunSpec.model_validate(make_run().model_dump() | {"data": world})], store)
    assert not (store.root / "corpora").exists()


def test_a_missing_corpus_is_said_before_anything_is_trained(make_run, store):
    spec = make_run(make_run())
    missing = spec.data.source.model_copy(update={"corpus": "/nowhere/*.txt"})
    data = spec.data.model_copy(update={"source": missing})
    with pytest.raises(DataError, match="no file matches"):
        teachers.prepare([spec.model_copy(update={"data": data})], store)
    assert not list(store.records())
