"""What a sweep promises, one test a promise."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from quick_trainer import QuickTrainer

from scaling.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_PREEMPTED, EXIT_SOME_FAILED, DataError, Preempted
from scaling.records import RunStore
from scaling.stop import Stop
from scaling.sweep.lease import Claims, LeaseState, read_lease
from scaling.sweep.outcomes import forget
from scaling.sweep.plan import plan
from scaling.sweep.run import run
from scaling.sweep.trunks import group
from scaling.sweep.work import work
from scaling.sweep.worker import WorkerOptions

HERE = Path(__file__).parent


def sweep(specs, store, **options):
    options.setdefault("trainer", QuickTrainer())
    return run(plan(specs, store), store, **options)


def results(store, specs):
    return {spec.run_id: (store.run_dir(spec.run_id) / "result.json").read_bytes() for spec in specs}


def test_a_sweep_trains_every_run(grid, store):
    outcome = sweep(grid, store)
    assert outcome.counts == {"new": 0, "done": 6, "diverged": 0, "failed": 0, "damaged": 0}
    assert set(outcome.trained) == {spec.run_id for spec in grid}
    assert outcome.exit_code == EXIT_OK


def test_a_finished_sweep_trains_nothing(grid, store):
    sweep(grid, store)
    before = results(store, grid)
    assert sweep(grid, store).trained == ()
    assert results(store, grid) == before


def test_a_new_value_on_an_axis_trains_only_the_new_runs(grid, store, make_spec):
    sweep(grid, store)
    new = [make_spec(96, steps * 640) for steps in (10, 20, 40)]
    assert set(sweep([*grid, *new], store).trained) == {spec.run_id for spec in new}


def test_a_longer_branch_of_a_finished_trunk_goes_on_from_its_checkpoint(grid, store, make_spec, tmp_path):
    sweep(grid[:3], store)
    longer = make_spec(32, 80 * 640)
    assert longer.trunk_id == grid[0].trunk_id
    assert sweep([*grid[:3], longer], store).trained == (longer.run_id,)
    alone = RunStore(tmp_path / "alone")
    sweep([longer], alone)
    assert results(alone, [longer]) == results(store, [longer])


def test_two_sweeps_share_the_record_of_a_run_that_both_have(grid, store):
    sweep(grid[:4], store)
    assert set(sweep(grid[2:], store).trained) == {spec.run_id for spec in grid[4:]}


def test_processes_give_the_same_records_as_one_worker(grid, store, tmp_path):
    other = RunStore(tmp_path / "other")
    sweep(grid, store)
    outcome = sweep(grid, other, jobs=2)
    assert sorted(outcome.trained) == sorted(spec.run_id for spec in grid)
    assert results(store, grid) == results(other, grid)


def test_a_failed_run_is_tried_again(grid, store):
    trainer = QuickTrainer(errors={grid[0].run_id: 1})
    outcome = sweep(grid, store, trainer=trainer)
    assert outcome.counts["done"] == 6
    log = store.log_path(grid[0].run_id).read_text()
    assert "made to fail, attempt 1" in log
    assert "attempt 2 begins" in log


def test_after_its_attempts_a_failed_run_is_listed_with_the_end_of_its_log(grid, store):
    trainer = QuickTrainer(errors={grid[0].run_id: 9})
    outcome = sweep(grid, store, trainer=trainer, options=WorkerOptions(max_attempts=3))
    assert outcome.exit_code == EXIT_SOME_FAILED
    assert outcome.counts == {"new": 0, "done": 3, "diverged": 0, "failed": 3, "damaged": 0}
    failure = outcome.failures[0]
    assert failure.error.startswith("RuntimeError: made to fail, attempt 3 (attempt 3")
    assert failure.log_tail[-1].endswith("made to fail, attempt 3")
    assert failure.log_path.exists()


def test_a_failed_run_is_left_alone_until_it_is_to_be_retried(grid, store):
    sweep(grid, store, trainer=QuickTrainer(errors={grid[0].run_id: 2}))
    again = sweep(grid, store)
    assert again.trained == ()
    assert len(again.failures) == 3
    assert set(forget(store, [spec.run_id for spec in grid])) == {spec.run_id for spec in grid[:3]}
    # A new life has all of its attempts.
    outcome = sweep(grid, store, trainer=QuickTrainer(errors={grid[0].run_id: 3}))
    assert outcome.counts["done"] == 6


def test_a_finished_run_can_be_trained_again_and_keeps_what_it_had(grid, store):
    sweep(grid, store)
    assert forget(store, [grid[0].run_id]) == []
    assert forget(store, [grid[0].run_id], only_failed=False) == [grid[0].run_id]
    assert len(list(store.root.glob(f"superseded/{grid[0].run_id}.*/result.json"))) == 1
    assert sweep(grid, store).trained == (grid[0].run_id,)


def test_a_problem_of_the_user_is_not_tried_again(grid, store):
    class Missing(QuickTrainer):
        def train(self, *args, **kwargs):
            raise DataError("corpus x is not installed — pip install x")

    outcome = sweep(grid[:1], store, trainer=Missing(), options=WorkerOptions(max_attempts=5))
    assert "(attempt 1," in outcome.failures[0].error


def test_fail_fast_stops_at_the_first_failure(grid, store):
    trainer = QuickTrainer(errors={grid[0].run_id: 9})
    outcome = sweep(grid, store, trainer=trainer, options=WorkerOptions(max_attempts=1, fail_fast=True))
    assert outcome.counts == {"new": 3, "done": 0, "diverged": 0, "failed": 3, "damaged": 0}


def test_a_diverged_run_is_a_result(grid, store):
    outcome = sweep(grid, store, trainer=QuickTrainer(diverging=(grid[2].run_id,)))
    assert outcome.counts == {"new": 0, "done": 5, "diverged": 1, "failed": 0, "damaged": 0}
    assert outcome.exit_code == EXIT_OK


def test_a_damaged_record_is_set_aside_and_trained_again(grid, store):
    sweep(grid, store)
    before = results(store, grid)
    for name, victim in (("result.json", grid[0]), ("config.json", grid[4])):
        path = store.run_dir(victim.run_id) / name
        path.write_bytes(path.read_bytes()[:20])
    assert set(sweep(grid, store).trained) == {grid[0].run_id, grid[4].run_id}
    assert results(store, grid) == before


def test_a_trunk_that_kills_its_workers_is_given_up(grid, store):
    # What a claim looks like whose owners died eleven times on some other machine.
    claims = Claims(store.prepare().root / "claims", "me", stale_after_s=0.1, machine="here")
    folder = store.root / "claims" / grid[0].trunk_id
    folder.mkdir(parents=True)
    (folder / "lease.11").write_bytes(LeaseState(owner="dead", crashes=10, machine="there").to_bytes())
    trunks = plan(grid[:3], store).trunks
    report = work(trunks, store, trainer=QuickTrainer(), claims=claims, options=WorkerOptions(poll_s=0.05))
    assert len(report.failed) == 3
    assert "its worker died 11 times" in store.load(grid[0].run_id).outcome.error
    forget(store, [spec.run_id for spec in grid])
    assert sweep(grid[:3], store).counts["done"] == 3


@pytest.fixture
def taught(make_spec):
    """Text, a teacher, and a student of that teacher."""
    source = {"kind": "text", "corpus": "none", "tokenizer": {"kind": "bytes"}}
    common = {"model": {"vocab_size": 257, "width": 64, "context": 40}, "tokens": 12800}
    teacher = {**common, "data": {"source": source}}
    student = {**common, "data": {"source": source, "teacher": {"kind": "trained", "run": teacher}}}
    from scaling.spec import RunSpec

    return RunSpec.model_validate(teacher), RunSpec.model_validate(student)


def test_a_teacher_is_trained_before_its_student_and_its_text_made_once(taught, store, tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.sweep.warnings._corpus_tokens", lambda source: 1e9)
    teacher, student = taught
    journal = tmp_path / "journal"
    journal.mkdir()
    wider = student.model_copy(update={"model": student.model.model_copy(update={"width": 32, "n_heads": 2})})
    made = plan([student, wider], store)
    assert [trunk.role for trunk in made.trunks] == ["teacher", "student", "student"]
    run(made, store, trainer=QuickTrainer(journal=str(journal)))
    calls = sorted(journal.iterdir(), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    verbs = [path.name.split("-")[0] for path in calls]
    assert verbs == ["prepare", "train", "prepare", "train", "train"]
    assert calls[1].read_text() == teacher.run_id
    assert set(calls[2].read_text().split()) == {student.run_id, wider.run_id}


def test_a_stop_while_text_is_prepared_blames_nobody(taught, store, monkeypatch):
    monkeypatch.setattr("scaling.sweep.warnings._corpus_tokens", lambda source: 1e9)

    class Slow(QuickTrainer):
        def prepare(self, specs, store, *, progress, should_stop):
            progress("1 of 2 tokens")
            os.kill(os.getpid(), signal.SIGTERM)
            while not should_stop():
                time.sleep(0.01)
            raise Preempted("stopped")

    outcome = sweep([taught[0]], store, trainer=Slow())
    assert outcome.stopped
    assert outcome.interruption().exit_code == EXIT_PREEMPTED
    assert "go on with: " in str(outcome.interruption())
    assert outcome.counts["new"] == 1
    assert sweep([taught[0]], store).counts["done"] == 1


def test_students_of_a_failed_teacher_are_blocked_not_failed(taught, store, monkeypatch):
    monkeypatch.setattr("scaling.sweep.warnings._corpus_tokens", lambda source: 1e9)
    teacher, student = taught
    outcome = sweep([student], store, trainer=QuickTrainer(errors={teacher.run_id: 9}))
    assert outcome.blocked == (student.run_id,)
    assert outcome.counts == {"new": 1, "done": 0, "diverged": 0, "failed": 1, "damaged": 0}
    assert outcome.exit_code == EXIT_SOME_FAILED


SCRIPT = """
    import signal, sys
    sys.path.insert(0, {here!r})
    from quick_trainer import QuickTrainer
    from conftest import spec
    from scaling.records import RunStore
    from scaling.sweep.run import run
    from scaling.sweep.plan import plan

    if __name__ == "__main__":
        # As in a terminal, also where the tests run under nohup.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        store = RunStore({root!r})
        specs = [spec(width, 640 * 400) for width in (32, 64, 96)]
        def show(event):
            print(event.kind, flush=True)
        outcome = run(plan(specs, store), store, jobs={jobs}, trainer=QuickTrainer(step_s=0.01), progress=show)
        sys.exit(outcome.exit_code)
"""


@pytest.fixture
def start_sweep(store, tmp_path):
    """Begin a sweep in a process of its own, and come back at its first step; none outlives the test."""
    started = []

    def start(jobs):
        script = tmp_path / "sweep.py"
        script.write_text(textwrap.dedent(SCRIPT.format(here=str(HERE), root=str(store.root), jobs=jobs)))
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        for line in process.stdout:
            if line.strip() == "step":
                return process
        raise AssertionError("the sweep ended before it was stopped")

    yield start
    for process in started:
        if not process.stdout.closed:
            process.kill()
            # Its workers hold the same pipe: this waits until they have ended as well.
            process.communicate()


@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [
        (signal.SIGINT, EXIT_INTERRUPTED, 1),
        (signal.SIGTERM, EXIT_PREEMPTED, 1),
        (signal.SIGUSR2, EXIT_PREEMPTED, 1),
        (signal.SIGINT, EXIT_INTERRUPTED, 2),
        # Workers hear of each signal in the same way.
        pytest.param(signal.SIGTERM, EXIT_PREEMPTED, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR2, EXIT_PREEMPTED, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, EXIT_PREEMPTED, 2, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_a_checkpoint_and_releases_the_claim(store, start_sweep, number, code, jobs):
    process = start_sweep(jobs)
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode == code
    saved = list((store.root / "trunks").glob("*/checkpoint.json"))
    assert saved
    assert all(read_lease(folder).released for folder in (store.root / "claims").iterdir())


def test_a_stopped_sweep_goes_on_where_it_was_and_ends_alike(store, tmp_path, start_sweep, make_spec):
    specs = [make_spec(width, 640 * 400) for width in (32, 64, 96)]
    process = start_sweep(1)
    process.terminate()
    process.communicate()
    sweep(specs, store)
    undisturbed = RunStore(tmp_path / "undisturbed")
    sweep(specs, undisturbed)
    assert results(store, specs) == results(undisturbed, specs)


def test_branches_that_left_before_a_stop_are_counted_and_none_twice(store, make_spec):
    trunks = group([make_spec(32, 640 * steps) for steps in (10, 20, 40)])
    stop = Stop()
    told = []

    def stop_after_a_branch(event):
        told.append((event.kind, event.run_id))
        if any(store.has(run_id) for run_id in trunks[0].run_ids):
            stop.request()

    first = work(trunks, store, trainer=QuickTrainer(), progress=stop_after_a_branch, stop=stop)
    assert first.trained == [run_id for run_id in trunks[0].run_ids if store.has(run_id)]
    assert 0 < len(first.trained) < 3
    assert [run_id for kind, run_id in told if kind == "done"] == first.trained
    second = work(trunks, store, trainer=QuickTrainer())
    assert sorted(first.trained + second.trained) == sorted(trunks[0].run_ids)


@pytest.mark.slow
def test_a_killed_worker_process_is_replaced_and_its_trunk_taken_over(store, make_spec):
    specs = [make_spec(width, 640 * 100) for width in (32, 64, 96, 128)]
    seen = []

    def kill_one(event):
        seen.append(event)
        if event.kind == "step" and not any(e.kind == "retry" for e in seen) and not killed:
            killed.append(event.worker)
            os.kill(int(event.worker.rsplit("-", 1)[1]), signal.SIGKILL)

    killed = []
    outcome = run(plan(specs, store), store, jobs=2, trainer=QuickTrainer(step_s=0.01), progress=kill_one)
    assert outcome.counts["done"] == 4
    assert set(outcome.trained) == {spec.run_id for spec in specs}
    assert any(event.kind == "retry" and "died" in event.message for event in seen)
    assert any(event.kind == "taken over" for event in seen)


@pytest.mark.slow
def test_workers_of_a_parent_that_is_gone_save_and_end(store, start_sweep):
    process = start_sweep(2)
    process.kill()
    # Comes back when nobody holds the pipe any more: when the workers have ended.
    process.communicate()
    states = [read_lease(folder) for folder in (store.root / "claims").iterdir()]
    assert states
    assert all(state and state.released for state in states)
