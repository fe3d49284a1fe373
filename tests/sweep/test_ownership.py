"""What a worker writes it writes as an owner: whoever slept through being replaced undoes nothing."""

from __future__ import annotations

import errno
import json
import os

import pytest
from quick_trainer import QuickTrainer

from scaling.errors import EXIT_PREEMPTED, MachineError, Preempted
from scaling.records import Outcome, RunRecord
from scaling.sweep.lease import Claims, read_lease
from scaling.sweep.outcomes import state_of
from scaling.sweep.plan import plan
from scaling.sweep.run import run
from scaling.sweep.status import status
from scaling.sweep.trunks import group
from scaling.sweep.work import work


def take_over(store, trunk_id, finish=True):
    """What another worker does to a trunk whose owner sleeps: owns it, and trains it to its end."""
    folder = store.root / "claims" / trunk_id
    generation = max(int(path.suffix[1:]) for path in folder.glob("lease.*"))
    (folder / f"lease.{generation + 1}").write_bytes(read_lease(folder).to_bytes())
    trunk = next(trunk for trunk in group(QUICK) if trunk.trunk_id == trunk_id)
    if finish:
        QuickTrainer().train(trunk.specs, store, progress=lambda step: None, should_stop=lambda: False)


QUICK: list = []


@pytest.fixture(autouse=True)
def _quick(grid):
    QUICK[:] = grid


class Sleepy(QuickTrainer):
    """Sleeps until another has finished its trunk, then does what it is told."""

    def then(self, specs, store):
        raise NotImplementedError

    def train(self, specs, store, *, progress, should_stop):
        take_over(type(store)(store.root), specs[0].trunk_id)
        assert should_stop()
        return self.then(specs, store)


def files_of(store, run_id):
    return {path: path.read_bytes() for path in store.run_dir(run_id).rglob("*") if path.is_file()}


def test_an_error_after_being_replaced_fails_no_run(grid, store):
    class Failing(Sleepy):
        def then(self, specs, store):
            raise RuntimeError("the file it was reading is gone")

    seen = []
    report = work(group(grid[:3]), store, trainer=Failing(), progress=seen.append)
    assert report.failed == []
    assert [state_of(store, spec.run_id) for spec in grid[:3]] == ["done"] * 3
    assert any(event.kind == "released" and "taken over" in event.message for event in seen)


def test_a_record_that_comes_late_is_not_published(grid, store):
    published = []

    class Late(Sleepy):
        def then(self, specs, store):
            before = files_of(store, specs[0].run_id)
            draft = store.draft(specs[0].run_id)
            (draft / "metrics.jsonl").write_text("{}")
            with pytest.raises(Preempted, match="taken over"):
                store.commit(RunRecord(spec=specs[0], outcome=Outcome(status="done", loss=9.9)), draft)
            assert not draft.exists()
            published.append(files_of(store, specs[0].run_id) == before)
            raise Preempted("stopped")

    work(group(grid[:3]), store, trainer=Late())
    assert published == [True]


def test_a_lease_that_was_deleted_is_lost_and_never_comes_back(tmp_path):
    first = Claims(tmp_path, "a", machine="a").claim("k")
    (tmp_path / "k" / "lease.1").unlink()
    assert first.lost
    with pytest.raises(Preempted, match="taken over"):
        first.prove()
    second = Claims(tmp_path, "b", machine="b").claim("k")
    assert second.generation == 2, "generations do not begin anew"
    first.note(step=1)
    first.release()
    assert not (tmp_path / "k" / "lease.1").exists()
    assert not second.lost
    second.release()


@pytest.mark.parametrize("how", ["another file", "other content", "the whole folder"])
def test_a_lease_that_is_not_as_it_was_left_is_lost(tmp_path, how):
    lease = Claims(tmp_path, "a", machine="a").claim("k")
    path = tmp_path / "k" / "lease.1"
    if how == "another file":
        (tmp_path / "copy").write_bytes(path.read_bytes())
        os.replace(tmp_path / "copy", path)
    elif how == "other content":
        path.write_bytes(path.read_bytes()[:40])
    else:
        os.rename(tmp_path / "k", tmp_path / "gone")
    before = path.read_bytes() if path.exists() else None
    assert lease.lost
    lease.release()
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_heartbeat_needs_no_room_on_the_disk(tmp_path):
    lease = Claims(tmp_path, "a", machine="a").claim("k")
    size = (tmp_path / "k" / "lease.1").stat().st_size
    lease.note(step=123456, steps=999999, loss=2.345678, tokens_per_s=123456.7)
    lease._write()
    assert (tmp_path / "k" / "lease.1").stat().st_size == size
    assert read_lease(tmp_path / "k").note["step"] == 123456
    lease.release()


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        MachineError("disk: No space left on device"),
        MemoryError("cannot allocate"),
        ValueError("INTERNAL: Error writing: No space left on device"),
    ],
    ids=["system", "translated", "memory", "library"],
)
def test_a_fault_of_the_machine_fails_no_run_and_ends_the_worker_with_75(grid, store, fault):
    class Unlucky(QuickTrainer):
        def train(self, *args, **kwargs):
            raise fault

    outcome = run(plan(grid, store), store, trainer=Unlucky())
    assert outcome.exit_code == EXIT_PREEMPTED
    assert outcome.stopped
    assert outcome.counts["failed"] == 0
    assert outcome.counts["new"] == 6
    assert str(fault.args[-1])[:10] in str(outcome.interruption())
    assert run(plan(grid, store), store, trainer=QuickTrainer()).counts["done"] == 6


def test_a_full_disk_of_one_worker_process_ends_them_all_with_75(grid, store):
    outcome = run(plan(grid, store), store, jobs=2, trainer=QuickTrainer(full_disk=True))
    assert outcome.exit_code == EXIT_PREEMPTED
    assert "free some space" in outcome.obstacle
    assert outcome.counts["failed"] == 0


@pytest.mark.parametrize("harm", ["deleted", "cut short", "changed"])
@pytest.mark.parametrize("name", ["student/weights", "metrics.jsonl"])
def test_a_run_whose_files_do_not_match_its_record_is_trained_again(grid, store, harm, name):
    run(plan(grid, store), store, trainer=QuickTrainer())
    path = store.run_dir(grid[0].run_id) / name
    content = path.read_bytes()
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if harm == "cut short" else bytes([content[0] ^ 1]) + content[1:])
    seen = status(group(grid), store).counts
    # Sizes are looked at by everybody, contents by whoever is about to train.
    assert (seen["done"], seen["damaged"]) == ((6, 0) if harm == "changed" else (5, 1))
    outcome = run(plan(grid, store), store, trainer=QuickTrainer())
    assert outcome.trained == (grid[0].run_id,)
    assert path.read_bytes() == content
    (moved,) = store.root.glob(f"superseded/{grid[0].run_id}.*")
    assert moved.is_dir()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "dnoe"}, "status"),
        ({"loss": "abc"}, "loss"),
        ({"loss": True}, "loss"),
        ({"loss": -1.0}, "allowed is a number above 0"),
        ({"loss": float("nan")}, "NaN"),
        ({"surprise": 1}, "surprise"),
        ({"files": {"metrics.jsonl": 3}}, "files|metrics"),
    ],
)
def test_a_result_that_cannot_be_is_damaged_counted_and_trained_again(grid, store, change, said):
    run(plan(grid, store), store, trainer=QuickTrainer())
    path = store.run_dir(grid[0].run_id) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert state_of(store, grid[0].run_id) == "damaged"
    assert plan(grid, store).counts()["damaged"] == 1
    with pytest.raises(Exception, match=said):
        store.load(grid[0].run_id)
    assert run(plan(grid, store), store, trainer=QuickTrainer()).trained == (grid[0].run_id,)


def test_leftovers_of_a_worker_that_died_are_cleared_by_the_next(grid, store):
    left = store.prepare().draft(grid[0].run_id)
    run(plan(grid, store), store, trainer=QuickTrainer())
    assert not left.exists()
