"""Trunks claimed and trained together: by shape, each with its own claim, and apart again after an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from quick_trainer import QuickTrainer

from scaling.errors import MissingPackageError, Preempted
from scaling.sweep.cohorts import CohortWorker
from scaling.sweep.lease import Claims, read_lease
from scaling.sweep.trunks import group
from scaling.sweep.work import work
from scaling.sweep.worker import WorkerOptions


@dataclass(frozen=True)
class QuickCohorts(QuickTrainer):
    """Trains trunks of one width together, one after the other."""

    size: int = 3
    broken: bool = False
    together: list[list[str]] = field(default_factory=list)

    def cohort_size(self, spec):
        return self.size

    def same_shape(self, spec, other):
        return spec.model == other.model

    def train_together(self, trunks, store, *, progress, should_stop):
        self.together.append([specs[0].trunk_id for specs in trunks])
        if self.broken:
            raise MemoryError("too many at once")

        def of(trunk_id):
            return lambda step: progress(SimpleNamespace(**vars(step), trunk_id=trunk_id))

        return [self.train(specs, store, progress=of(specs[0].trunk_id), should_stop=should_stop) for specs in trunks]


@pytest.fixture
def trunks(make_spec):
    """Five trunks 32 wide and two 64 wide, of two runs each."""
    wanted = [(32, seed) for seed in range(5)] + [(64, seed) for seed in range(2)]
    return group([make_spec(width, tokens, seed) for width, seed in wanted for tokens in (6_400, 12_800)])


def all_done(trunks, store) -> bool:
    return all(store.load(run_id).outcome.status == "done" for trunk in trunks for run_id in trunk.run_ids)


def test_trunks_of_one_shape_are_trained_together_and_each_is_settled(trunks, store):
    trainer, seen = QuickCohorts(), []
    report = work(trunks, store, trainer=trainer, progress=seen.append)
    ids = [trunk.trunk_id for trunk in trunks]
    assert trainer.together == [ids[0:3], ids[3:5], ids[5:7]]
    assert all_done(trunks, store)
    assert sorted(report.trained) == sorted(run_id for trunk in trunks for run_id in trunk.run_ids)
    assert {event.trunk_id for event in seen if event.kind == "step"} == set(ids)
    for trunk_id in ids:
        state = read_lease(store.root / "claims" / trunk_id)
        assert state.released
        assert (state.failures, state.crashes) == (0, 0)


def test_what_fails_together_is_trained_alone(trunks, store):
    trainer, seen = QuickCohorts(broken=True), []
    report = work(trunks, store, trainer=trainer, progress=seen.append, options=WorkerOptions(poll_s=0.01))
    assert len(trainer.together) == 3
    assert all_done(trunks, store)
    assert report.failed == []
    said = [event.message for event in seen if event.kind == "retry"]
    assert len(said) == len(trunks)
    assert "each alone: MemoryError: too many at once" in said[0]


def test_a_trunk_that_another_holds_is_left_out(trunks, store):
    store.prepare()
    lease = Claims(store.root / "claims", "another").claim(trunks[1].trunk_id)
    trainer = QuickCohorts()
    work(trunks, store, trainer=trainer, options=WorkerOptions(max_trunks=3))
    assert trainer.together == [[trunks[at].trunk_id for at in (0, 2, 3)]]
    lease.release()


def test_a_cohort_that_is_stopped_lets_go_of_every_trunk(trunks, store):
    class Stopped(QuickCohorts):
        def train_together(self, trunks, store, *, progress, should_stop):
            raise Preempted("state is saved")

    released = []

    def listen(event):
        if event.kind == "released":
            released.append(event.trunk_id)

    work(trunks, store, trainer=Stopped(), progress=listen, options=WorkerOptions(max_trunks=3))
    assert released == [trunk.trunk_id for trunk in trunks[:3]]
    assert all(read_lease(store.root / "claims" / trunk_id).released for trunk_id in released)
    work(trunks, store, trainer=QuickCohorts())
    assert all_done(trunks, store)


def test_a_trunk_that_failed_before_is_trained_alone(trunks, store):
    store.prepare()
    for trunk in trunks[:2]:
        Claims(store.root / "claims", "another").claim(trunk.trunk_id).release(failed=True)
    trainer = QuickCohorts()
    work(trunks, store, trainer=trainer)
    assert not {trunk.trunk_id for trunk in trunks[:2]} & {one for members in trainer.together for one in members}
    assert all_done(trunks, store)


def test_a_machine_that_cannot_make_a_companions_text_lets_go_of_every_trunk(make_spec, store, monkeypatch):
    trunks = group([make_spec(32, 6_400, seed) for seed in range(3)])
    prepared = []

    def prepare(worker, trunk):
        prepared.append(trunk)
        if len(prepared) == 3:
            raise MissingPackageError("the package that reads it is not installed here")
        return True

    monkeypatch.setattr(CohortWorker, "_prepare", prepare)
    report = work(trunks, store, trainer=QuickCohorts())
    assert "not installed" in report.obstacle
    monkeypatch.undo()
    # Nobody died, so on a machine that can they are trained together.
    trainer = QuickCohorts()
    work(trunks, store, trainer=trainer)
    assert trainer.together == [[trunk.trunk_id for trunk in trunks]]
