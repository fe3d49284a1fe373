"""Status is read from the files, at any moment, by anyone."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from quick_trainer import QuickTrainer

from scaling.files import make_folder, write_bytes, write_json
from scaling.records import Outcome, RunRecord
from scaling.records.checkpoints import DESCRIPTION
from scaling.report.status import show_status
from scaling.spec import trunk_steps
from scaling.sweep.lease import Claims
from scaling.sweep.pace import Pace
from scaling.sweep.plan import plan
from scaling.sweep.progress import Event
from scaling.sweep.run import run
from scaling.sweep.status import status
from scaling.sweep.trunks import group


def test_an_untouched_sweep_is_pending_and_stays_untouched(grid, store):
    seen = status(group(grid), store)
    assert seen.counts == {"done": 0, "diverged": 0, "failed": 0, "damaged": 0, "running": 0, "pending": 6}
    assert seen.flops_done == 0
    assert seen.remaining_s > 0
    assert not store.root.exists()


def test_a_finished_sweep_shows_its_losses_and_no_time_left(grid, store):
    run(plan(grid, store), store, trainer=QuickTrainer())
    seen = status(group(grid), store)
    assert seen.counts["done"] == 6
    assert seen.remaining_s == 0
    assert seen.flops_done == seen.flops_total
    assert [row.loss for row in seen.runs] == [store.load(row.run_id).outcome.loss for row in seen.runs]


def test_a_claimed_trunk_is_running_with_what_its_worker_says(grid, store):
    trunk = group(grid)[0]
    lease = Claims(store.prepare().root / "claims", "me").claim(trunk.trunk_id)
    lease.note(step=23, steps=46, loss=2.5, tokens_per_s=1000.0)
    lease._write()
    seen = status(group(grid), store)
    assert seen.counts == {"done": 0, "diverged": 0, "failed": 0, "damaged": 0, "running": 3, "pending": 3}
    (worker,) = seen.workers
    assert (worker.name, worker.step, worker.loss, worker.silent) == ("me", 23, 2.5, False)
    assert seen.tokens_per_s == 1000
    assert worker.remaining_s == 23 * 640 / 1000
    assert seen.flops_done == trunk.flops / 2
    lease.release()
    assert status(group(grid), store).counts["running"] == 0


def test_a_trunk_whose_worker_was_killed_here_is_no_longer_running(grid, store, capsys):
    trunk = group(grid)[0]
    lease = Claims(store.prepare().root / "claims", "me").claim(trunk.trunk_id)
    lease.note(step=23, steps=46, tokens_per_s=1000.0)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    lease.state = replace(lease.state, pid=ended.pid)
    lease._write()
    seen = status(group(grid), store)
    assert (seen.counts["running"], seen.counts["pending"], seen.tokens_per_s, seen.flops_done) == (0, 6, 0.0, 0.0)
    assert (seen.workers[0].gone, seen.workers[0].silent) == (True, True)
    show_status(lambda: seen, watch=False, as_json=False)
    assert "its process is gone" in capsys.readouterr().out
    # Of a worker on another machine nothing is known but that it is quiet.
    lease.state = replace(lease.state, machine="another")
    lease._write()
    assert status(group(grid), store).counts["running"] == 3
    lease.release()


def test_failed_runs_are_listed_with_the_end_of_their_log(grid, store):
    run(plan(grid, store), store, trainer=QuickTrainer(errors={grid[0].run_id: 9}))
    seen = status(group(grid), store)
    assert seen.counts["failed"] == 3
    assert "made to fail" in seen.failures[0].log_tail[-1]


def test_a_line_tells_the_training_loss_from_the_loss_of_a_run():
    on_the_way = Event(kind="step", worker="w", trunk_id="a", loss=1.29)
    assert "training loss 1.2900" in on_the_way.line()
    ended = Event(kind="done", worker="w", trunk_id="a", run_id="r", loss=1.64)
    assert ended.line() == "w a done run r loss 1.6400"


def checkpoint(store, trunk, number, steps, branch_id=None):
    """A checkpoint as it describes itself; who only looks reads no arrays."""
    path = store.trunk_dir(trunk.trunk_id) / str(number) / DESCRIPTION
    make_folder(path.parent)
    write_json(path, {"steps": steps, "branch_id": branch_id})


def test_a_training_that_stopped_halfway_has_its_other_half_left(grid, store):
    trunk = group(grid)[0]
    first, second, _ = trunk.specs

    def left() -> int:
        return plan(grid, store).cost.steps_left[trunk.trunk_id]

    checkpoint(store, trunk, 1, {"trunk": 1})
    assert left() == trunk.steps - 1
    # In the middle of the first cooldown, whose steps are told from those of the trunk.
    checkpoint(store, trunk, 2, {"trunk": first.branch_step, "branch": first.steps - 1}, first.run_id)
    assert left() == trunk.steps - (first.steps - 1)
    # The cooldown of a branch that is not the first to be trained begins anew.
    checkpoint(store, trunk, 3, {"trunk": first.branch_step, "branch": first.steps - 1}, second.run_id)
    assert left() == trunk.steps - first.branch_step
    # Beyond the first branch, or damaged: an older one serves.
    checkpoint(store, trunk, 4, {"trunk": first.branch_step + 1})
    write_bytes(make_folder(store.trunk_dir(trunk.trunk_id) / "5" / DESCRIPTION.parent) / DESCRIPTION.name, b"{")
    assert left() == trunk.steps - first.branch_step


@pytest.mark.parametrize("n_done", [1, 2])
def test_a_finished_branch_counts_for_status_and_plan_alike(grid, store, n_done):
    (trunk, *_), pace = group(grid), Pace(step_s={}, source="guess", compile_s=0.0, start_s=0.0)
    whole = plan(grid, store, pace=pace)
    store.prepare()
    checkpoint(store, trunk, 1, {"trunk": trunk.specs[n_done - 1].branch_step})
    for spec in trunk.specs[:n_done]:
        store.commit(RunRecord(spec=spec, outcome=Outcome(status="done", loss=1.0)))
    seen, left = status(group(grid), store, pace=pace), plan(grid, store, pace=pace)
    ended = trunk_steps(trunk.specs[:n_done]) / trunk.steps
    assert seen.flops_done == left.flops_done == pytest.approx(ended * trunk.flops)
    assert seen.remaining_s == left.seconds() < whole.seconds()
    assert left.flops + left.flops_done == pytest.approx(whole.flops)


def test_a_branch_that_a_checkpoint_does_not_serve_takes_the_trunk_from_its_beginning(grid, store):
    trunk = group(grid)[0]
    store.prepare().commit(RunRecord(spec=trunk.specs[-1], outcome=Outcome(status="done", loss=1.0)))
    for _ in range(2):
        assert plan(trunk.specs, store).cost.steps_left[trunk.trunk_id] == trunk_steps(trunk.specs[:-1])
        make_folder(store.trunk_dir(trunk.trunk_id))


def test_status_tells_the_time_that_the_plan_told_before_anything_ran(grid, store):
    assert status(group(grid), store).remaining_s == plan(grid, store).seconds()
    assert status(group(grid), store).flops_total == plan(grid, store).flops


@pytest.mark.parametrize("skew_s", [-7200, -90, 0, 90, 7200])
@pytest.mark.parametrize("may_write", [True, False])
def test_a_live_worker_is_not_silent_however_wrong_a_clock_is(grid, store, monkeypatch, skew_s, may_write):
    lease = Claims(store.prepare().root / "claims", "me", machine="another").claim(group(grid)[0].trunk_id)
    # The clock of this machine is not that of the file server.
    here = time.time()
    monkeypatch.setattr("time.time", lambda: here + skew_s)
    if not may_write:

        def refuse(**_):
            raise PermissionError

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    (worker,) = status(group(grid), store).workers
    assert not worker.silent
    lease.release()


def test_a_worker_that_wrote_nothing_for_long_by_the_clock_of_the_files_is_silent(grid, store):
    claims, (first, second) = store.prepare().root / "claims", group(grid)
    leases = [Claims(claims, "me", machine="another").claim(trunk.trunk_id) for trunk in (first, second)]
    for lease in leases:
        lease._stop.set()
        lease._thread.join()
    path = claims / first.trunk_id / "lease.1"
    os.utime(path, (0, path.stat().st_mtime - 90))
    before = sorted(claims.rglob("*"))
    assert [worker.silent for worker in status(group(grid), store).workers] == [True, False]
    assert sorted(claims.rglob("*")) == before
    for lease in leases:
        os.close(lease._file)
