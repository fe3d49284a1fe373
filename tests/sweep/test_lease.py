"""Claims: one owner at a time, whatever dies and whatever the clocks say."""

import os
import subprocess
import sys
import threading
import time

import pytest

from scaling.sweep.lease import Claims, LeaseState, read_lease


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def claims(tmp_path, clock):
    """Claimants on machines of their own, so that only their files tell whether they live."""
    return lambda owner: Claims(tmp_path, owner, stale_after_s=60, clock=clock, machine=owner)


def kill(lease):
    """What SIGKILL does to an owner: its heart stops and nothing is released."""
    lease._stop.set()
    lease._thread.join()


def test_a_key_has_one_owner_until_it_is_released(claims):
    first = claims("a").claim("k")
    assert first is not None
    assert claims("b").claim("k") is None
    first.release()
    assert claims("b").claim("k") is not None


def test_of_many_simultaneous_claimants_one_wins(claims):
    start, won = threading.Barrier(16), []

    def race(name):
        claimant = claims(name)
        start.wait()
        lease = claimant.claim("k")
        if lease:
            won.append(lease)

    threads = [threading.Thread(target=race, args=(f"w{i}",)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()


def test_a_silent_owner_is_replaced_after_the_claimant_saw_no_change_for_long_enough(claims, clock):
    old = claims("a").claim("k")
    kill(old)
    other = claims("b")
    assert other.claim("k") is None
    clock.now += 59
    assert other.claim("k") is None
    clock.now += 2
    new = other.claim("k")
    assert new.state.crashes == 1
    assert old.lost
    assert not new.lost
    new.release()


def test_an_owner_whose_file_changes_keeps_its_key(claims, clock):
    lease = claims("a").claim("k")
    other = claims("b")
    for _ in range(5):
        assert other.claim("k") is None
        clock.now += 50
        lease.state = LeaseState(owner="a", beat=lease.state.beat + 1)
        lease._write()
    assert other.claim("k") is None
    lease.release()


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_time_stamps_do_not_matter(claims, clock, tmp_path, skew):
    lease = claims("a").claim("k")
    stamp = time.time() + skew
    os.utime(tmp_path / "k" / "lease.1", (stamp, stamp))
    other = claims("b")
    assert other.claim("k") is None
    clock.now += 30
    assert other.claim("k") is None
    lease.release()


def test_a_torn_lease_is_waited_for_like_a_silent_owner(claims, clock, tmp_path):
    kill(claims("a").claim("k"))
    (tmp_path / "k" / "lease.1").write_bytes(b'{"owner": "a", "be')
    other = claims("b")
    assert other.claim("k") is None
    clock.now += 61
    other.claim("k").release()


def test_an_owner_that_slept_through_its_replacement_knows_it(claims, clock):
    old = claims("a").claim("k")
    kill(old)
    other = claims("b")
    other.claim("k")
    clock.now += 61
    new = other.claim("k")
    new.note(step=3)
    old.release()
    assert read_lease(new.folder).owner == "b"
    assert not new.lost
    new.release()


def test_a_claimant_that_slept_before_creating_does_not_revive_an_old_generation(claims, monkeypatch):
    sleeper = claims("c")
    claims("a").claim("k").release()
    own = []

    def create_late(path, content):
        # Between "c" looking at generation 1 and creating 2, "b" and then "d" own the key; 2 is swept away.
        monkeypatch.undo()
        claims("b").claim("k").release()
        own.append(claims("d").claim("k"))
        assert not path.exists()
        path.write_bytes(content)
        return True

    monkeypatch.setattr("scaling.sweep.lease.write_once", create_late)
    assert sleeper.claim("k") is None
    assert not own[0].lost
    own[0].release()


def test_failures_are_counted_over_owners(claims):
    for count in range(3):
        lease = claims(f"w{count}").claim("k")
        assert lease.state.failures == count
        assert lease.state.crashes == 0
        lease.release(failed=True)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_dead_process_of_this_machine_is_replaced_at_once(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from scaling.sweep.lease import Claims;"
        "Claims(Path(sys.argv[1]), 'child', stale_after_s=3600).claim('k'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert read_lease(tmp_path / "k").owner == "child"
    lease = Claims(tmp_path, "me", stale_after_s=3600).claim("k")
    assert lease.state.crashes == 1
    lease.release()
