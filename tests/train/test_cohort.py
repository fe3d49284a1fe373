"""Trunks trained together end as they do alone, whatever becomes of the others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scaling.errors import DataError, Preempted, TrainError
from scaling.records import RunStore
from scaling.spec import CoverageTeacher
from scaling.train import cohort
from scaling.train.checkpoint import load_student
from scaling.train.cohort import cohort_size, shape_of, train_cohort
from scaling.train.loop import train_trunk
from scaling.train.student.model import to_tensors
from scaling.train.trunk import TrunkTraining


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The store in which every trunk was trained by itself, filled once."""
    store = RunStore(tmp_path_factory.mktemp("alone"))

    def get(trunks) -> RunStore:
        for specs in trunks:
            train_trunk(specs, store)
        return store

    return get


@pytest.fixture
def trunks(run_spec):
    """Other seeds, rates, teachers and volumes; one shape."""
    first = [run_spec(6_400), run_spec(12_800)]
    other_data = run_spec(6_400).data.model_copy(update={"teacher": CoverageTeacher(kind="coverage", top_keys=30)})
    return [
        first,
        [spec.model_copy(update={"seed": 1}) for spec in first],
        [run_spec(9_600, lr=2e-3)],
        [spec.model_copy(update={"data": other_data}) for spec in first],
    ]


def check_equal(trunks, store, reference) -> None:
    for spec in (spec for specs in trunks for spec in specs):
        found, expected = (one.load(spec.run_id).outcome for one in (store, reference))
        assert found.status == expected.status == "done"
        assert found.loss == pytest.approx(expected.loss, abs=2e-4)
        logs = [(one.run_dir(spec.run_id) / "metrics.jsonl").read_text().splitlines() for one in (store, reference)]
        found, expected = ([json.loads(line) for line in log] for log in logs)
        for name in ("loss", "grad_noise", "rate"):
            pair = (np.array([line[name] for line in lines], float) for lines in (found, expected))
            np.testing.assert_allclose(*pair, rtol=1e-3, err_msg=name)
        weights = [to_tensors(load_student(one.student_dir(spec.run_id), spec.model)) for one in (store, reference)]
        for name, part in weights[0].items():
            np.testing.assert_allclose(part, weights[1][name], atol=3e-3, err_msg=name)


@pytest.mark.slow
def test_members_end_as_they_do_alone(trunks, alone, store):
    records = train_cohort(trunks, store)
    assert [[record.spec for record in own] for own in records] == trunks
    check_equal(trunks, store, alone(trunks))


@pytest.mark.slow
def test_a_cohort_stopped_again_and_again_ends_as_if_it_had_not_been(trunks, alone, store):
    stops = 0
    while not all(store.has(spec.run_id) for specs in trunks for spec in specs):
        assert stops < 30, "no headway"
        looks = iter([False] * 4)
        try:
            train_cohort(trunks, store, should_stop=lambda looks=looks: next(looks, True))
        except Preempted:
            stops += 1
    assert stops >= 2
    check_equal(trunks, store, alone(trunks))


@pytest.mark.slow
def test_a_member_goes_on_alone_and_a_trunk_begun_alone_goes_on_in_a_cohort(trunks, alone, store):
    looks = iter([False] * 3)
    with pytest.raises(Preempted):
        train_trunk(trunks[1], store, should_stop=lambda: next(looks, True))
    looks = iter([False] * 4)
    with pytest.raises(Preempted):
        train_cohort(trunks, store, should_stop=lambda: next(looks, True))
    for specs in trunks:
        train_trunk(specs, store)
    check_equal(trunks, store, alone(trunks))


@pytest.mark.slow
def test_a_member_that_diverges_leaves_the_others_as_they_are(trunks, alone, store, run_spec):
    wild = [run_spec(12_800, lr=1e15)]
    records = train_cohort([wild, *trunks[1:]], store)
    assert records[0][0].outcome.status == "diverged"
    check_equal(trunks[1:], store, alone(trunks[1:]))


class OfItsOwnText(TrunkTraining):
    """A trunk whose text ends where its longest run does, as one that a teacher wrote for it."""

    def __init__(self, specs, *arguments, **named):
        super().__init__(specs, *arguments, **named)
        self.read, self.stream.batches = self.stream.batches, self.batches

    def batches(self, start: int, count: int):
        if start + count > (steps := max(spec.steps for spec in self.specs)):
            raise DataError(f"{start + count} steps were asked for, and there is text for {steps}")
        return self.read(start, count)


@pytest.mark.slow
def test_a_member_that_has_ended_reads_no_more_while_the_others_do(run_spec, store, monkeypatch):
    monkeypatch.setattr(cohort, "TrunkTraining", OfItsOwnText)
    # The first ends before the second, and with a step that is not finite the third before both.
    trunks = [[run_spec(960)], [run_spec(12_800, lr=2e-3)], [run_spec(12_800, lr=1e30, warmup_tokens=0)]]
    records = train_cohort(trunks, store)
    assert [own[0].outcome.status for own in records] == ["done", "done", "diverged"]
    assert len((store.run_dir(trunks[1][0].run_id) / "metrics.jsonl").read_text().splitlines()) == 40


def test_what_cannot_be_trained_together_is_refused(trunks, store, run_spec):
    with pytest.raises(TrainError, match="several shapes"):
        train_cohort([trunks[0], [run_spec(6_400, batch_size=16)]], store)
    with pytest.raises(TrainError, match="given twice"):
        train_cohort([trunks[0], trunks[0]], store)
    assert shape_of(trunks[0][0]) is shape_of(trunks[2][0])


def test_a_processor_trains_one_at_a_time_unless_told_otherwise(run_spec, monkeypatch):
    monkeypatch.delenv("SCALING_COHORT", raising=False)
    assert cohort_size(run_spec()) == 1
    monkeypatch.setenv("SCALING_COHORT", "4")
    assert cohort_size(run_spec()) == 4
    monkeypatch.setenv("SCALING_COHORT", "many")
    with pytest.raises(TrainError, match="SCALING_COHORT is 'many'"):
        cohort_size(run_spec())
