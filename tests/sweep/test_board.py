"""How a sweep stands, told by its events, is what its files tell."""

from dataclasses import replace

import pytest
from quick_trainer import QuickTrainer

from scaling.sweep.board import Tally, board_of
from scaling.sweep.lease import Claims
from scaling.sweep.plan import plan
from scaling.sweep.progress import Event
from scaling.sweep.run import run
from scaling.sweep.status import status
from scaling.sweep.trunks import group


@pytest.fixture
def sweep(grid, store):
    return plan(grid, store)


def tell(trunk, kind, **values):
    return Event(kind=kind, worker="w", trunk_id=trunk.trunk_id, **values)


def test_trunks_weigh_by_their_flops(sweep):
    small, large = sweep.trunks
    tally = Tally(sweep)
    tally.update(tell(small, "finished"))
    assert tally.board(20.0).part == small.flops / sweep.flops
    assert tally.board(20.0).remaining_s == pytest.approx(20 * large.flops / small.flops)
    tally.update(tell(large, "step", step=1, steps=2))
    assert tally.board(20.0).part == pytest.approx((small.flops + large.flops / 2) / sweep.flops)


def test_no_time_left_is_told_before_there_is_a_pace(sweep):
    tally = Tally(sweep)
    assert tally.board(5.0).remaining_s is None
    tally.update(tell(sweep.trunks[1], "step", step=1, steps=100))
    assert tally.board(5.0).remaining_s is None


def test_a_trunk_moves_from_waiting_to_done(sweep):
    trunk, tally = sweep.trunks[0], Tally(sweep)
    seen = []
    for kind, values in (
        ("preparing", {"message": "text of the teacher"}),
        ("prepared", {}),
        ("claimed", {}),
        ("step", {"step": 5, "steps": 20, "loss": 3.0, "tokens_per_s": 640.0}),
        ("released", {"message": "state is saved"}),
        ("resumed", {}),
        *(("done", {"run_id": run_id, "loss": 2.0}) for run_id in trunk.run_ids),
    ):
        tally.update(tell(trunk, kind, **values))
        seen.append(tally.board(1.0).lines[0])
    states = ["preparing", "waiting", "training", "training", "waiting", "training", "training", "training", "done"]
    assert [line.state for line in seen] == states
    assert [line.note for line in seen[:2]] == ["text of the teacher", ""]
    assert (seen[3].part, seen[3].loss, seen[3].remaining_s) == (0.25, 3.0, 15.0)
    assert (seen[-1].part, seen[-1].loss, seen[-1].remaining_s) == (1.0, 2.0, None)


def test_an_attempt_that_begins_again_does_not_count_twice(sweep):
    trunk, tally = sweep.trunks[0], Tally(sweep)
    for step in (10, 2):
        tally.update(tell(trunk, "step", step=step, steps=20))
    assert tally.board(1.0).lines[0].part == 0.5


def test_events_of_a_sweep_and_its_files_tell_the_same_end(grid, store, sweep):
    tally = Tally(sweep)
    run(
        sweep,
        store,
        trainer=QuickTrainer(errors={grid[0].run_id: 9}, diverging=(grid[4].run_id,)),
        progress=tally.update,
    )
    told, read = tally.board(1.0), board_of(status(group(grid), store))
    assert [line.state for line in told.lines] == ["failed", "diverged"]
    assert told == replace(read, remaining_s=told.remaining_s)


def test_files_tell_who_trains_what_while_it_trains(grid, store):
    trunk = group(grid)[1]
    lease = Claims(store.prepare().root / "claims", "me").claim(trunk.trunk_id)
    lease.note(step=23, steps=46, loss=2.5, tokens_per_s=1000.0)
    lease._write()
    waiting, training = board_of(status(group(grid), store)).lines
    assert (waiting.state, waiting.loss) == ("waiting", None)
    assert (training.state, training.part, training.loss, training.remaining_s) == ("training", 0.5, 2.5, 14.72)
    lease.release()
