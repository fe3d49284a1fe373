"""Students of a world as teachers: one teaches others of it, with a KL that is checked and an identity that closes."""

import numpy as np
import pytest
from pydantic import ValidationError

import scaling.teach.generate as generate
from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.data.shards import open_shards
from scaling.data.text import teacher_text_dir
from scaling.data.worlds import open_generator
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.sweep.trunks import group
from scaling.teach.generate import ensure_teacher_text
from scaling.teach.teachers import prepare
from scaling.train.loop import train_trunk
from scaling.train.student.generator import open_student
from tests.streams import batch_of

pytestmark = pytest.mark.slow

WORLDS = {
    "w0": ({"kind": "w0", "n_records": 2}, {"vocab_size": 65, "context": 16}),
    "w1": ({"kind": "w1", "n_symbols": 32, "context": 12}, {"vocab_size": 33, "context": 12}),
}


def make_run(world, teacher=None, tokens=4000, **data):
    source, fit = WORLDS[world]
    chosen = {"kind": "net", "run": teacher} if teacher else {"kind": "real"}
    return RunSpec.model_validate(
        {
            "model": {"width": 32, "n_layers": 1, **fit},
            "data": {"source": source, "teacher": chosen, **data},
            "optim": {"batch_size": 16, "lr": 1e-2},
            "evaluation": {"tokens": 2000},
            "tokens": tokens,
        }
    )


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A results folder in which a student of each world has taught another."""
    store = RunStore(tmp_path_factory.mktemp("results")).prepare()
    students = {world: make_run(world, make_run(world, tokens=20_000)) for world in WORLDS}
    for student in students.values():
        prepare([student], store)
        train_trunk([student], store)
    return store, students


def test_the_teachers_run_comes_first_and_its_students_share_it():
    teacher = make_run("w0", tokens=20_000)
    trunks = group(
        [make_run("w0", teacher), make_run("w0", teacher, tokens=8000), make_run("w0", teacher, tokens=4000, seed=1)]
    )
    assert [trunk.role for trunk in trunks] == ["teacher", "student", "student"]
    assert [len(trunk.specs) for trunk in trunks] == [1, 2, 1]
    assert all(trunk.needs == (teacher.run_id,) for trunk in trunks[1:])


@pytest.mark.parametrize("world", WORLDS)
def test_the_identity_of_loss_closes_for_a_nets_student(taught, world):
    store, students = taught
    found = store.load(students[world].run_id).outcome
    divergence = found.delta_coverage + found.delta_noise
    assert found.loss == pytest.approx(found.entropy + divergence + found.kl_student + found.cross_term, abs=1e-6)
    assert divergence > 0.01
    assert found.kl_student > 0
    assert found.teacher_loss == pytest.approx(found.entropy + divergence)
    assert found.loss_teacher > 0


@pytest.mark.parametrize("world", WORLDS)
def test_the_teachers_loss_is_what_its_own_run_was_measured_at(taught, world):
    store, students = taught
    teacher = store.load(students[world].data.teacher.run.run_id).outcome
    assert store.load(students[world].run_id).outcome.teacher_loss == pytest.approx(teacher.loss, abs=1e-5)


@pytest.mark.parametrize("world", WORLDS)
def test_the_divergence_agrees_with_monte_carlo(taught, world):
    store, students = taught
    net, source = open_student(students[world], store), students[world].data.source
    real = open_generator(source)
    text = real.sequences(seed=9, start=0, count=4000)
    p, q = (np.take_along_axis(speaker.next_token_probs(text), text[..., None], -1)[..., 0] for speaker in (real, net))
    ratio = np.log(p / q)[:, real.scored].mean(1)
    known = net.divergence(1000)
    se = (ratio.var() / len(ratio) + known.se**2) ** 0.5
    assert abs(ratio.mean() - known.total) < 3 * se
    assert 0 < known.se < 0.1 * known.total


def test_what_it_writes_follows_its_law(taught):
    store, students = taught
    net = open_student(students["w0"], store)
    text = net.block(seed=5, purpose=0, number=0)
    laws = net.next_token_probs(text)
    surprise = -np.log(np.take_along_axis(laws, text[..., None], axis=-1)[..., 0])
    gap = (surprise + (laws * np.log(laws)).sum(-1)).mean(1)
    assert abs(gap.mean()) < 3 * gap.std() / len(gap) ** 0.5


def test_its_text_is_written_once_and_the_same_after_a_kill(taught, monkeypatch):
    store, students = taught
    spec = make_run("w0", students["w0"].data.teacher.run, seed=3)
    cards, write_card = iter(range(2)), generate.write_card

    def dies_at_the_second_card(folder, card):
        if next(cards) == 1:
            raise KeyboardInterrupt
        write_card(folder, card)

    monkeypatch.setattr(generate, "write_card", dies_at_the_second_card)
    with pytest.raises(KeyboardInterrupt):
        ensure_teacher_text(spec, store, n_tokens=40_000)
    monkeypatch.setattr(generate, "write_card", write_card)
    card, _ = ensure_teacher_text(spec, store, n_tokens=40_000)
    folder = teacher_text_dir(store, spec.data, seed=3, split="train", context=16)
    net = open_student(spec, store)
    assert np.array_equal(open_shards(folder).maps[0].reshape(-1, 16), net.block(seed=3, purpose=0, number=0))
    assert card.teacher_run == spec.data.teacher.run.run_id
    assert np.array_equal(batch_of(open_stream(spec, store), 0).targets, net.block(seed=3, purpose=0, number=0)[:16])


def test_without_its_weights_there_is_the_real_set_alone(taught):
    store, students = taught
    sets = evaluation_sets(students["w0"], store)
    assert sets.teacher is None
    assert sets.delta_coverage is sets.teacher_loss is None
    assert sets.entropy > 0


def test_a_student_that_cannot_teach_is_refused_with_a_cure(tmp_path):
    store, spec = RunStore(tmp_path).prepare(), make_run("w0", make_run("w0"))
    with pytest.raises(DataError, match="not trained yet"):
        ensure_teacher_text(spec, store, n_tokens=10)
    with pytest.raises(DataError, match="is opened with its weights"):
        open_generator(spec.data.source, spec.data.teacher)
    with pytest.raises(ValidationError, match="trained in another world than its students"):
        make_run("w1", make_run("w0"))
    with pytest.raises(ValidationError, match="tokens for targets only, not exact"):
        make_run("w0", make_run("w0"), targets={"kind": "exact"})
