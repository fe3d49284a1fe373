"""Asking a stage to stop: never lost, wherever the signal arrives, and at once where nobody waits for a step to end."""

from __future__ import annotations

import gc
import os
import signal
import sys

import pytest

from scaling.errors import Preempted
from scaling.stop import check_stop, interruptible, interrupts_kept, stop_on_signals, stoppable

SWALLOWED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def collect():
    """Collect garbage, with Ctrl-C arriving in a callback of the collector, where Python forgets exceptions."""
    sent = []

    def callback(phase, _info):
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), signal.SIGINT)

    def collect() -> None:
        gc.callbacks.append(callback)
        gc.collect()
        gc.callbacks.remove(callback)

    yield collect
    assert sent


def test_ctrl_c_that_python_forgets_ends_a_stage_at_its_next_step(collect):
    done = []

    @interruptible()
    def stage() -> None:
        for step in stoppable(range(3)):
            collect()
            done.append(step)

    with pytest.raises(KeyboardInterrupt):
        stage()
    assert done == [0]


def test_ctrl_c_in_the_last_step_of_a_stage_is_not_lost(collect):
    with pytest.raises(KeyboardInterrupt):
        interruptible()(collect)()


@SWALLOWED
@pytest.mark.parametrize("end", [lambda: None, sys.exit], ids=["returns", "exits"])
def test_a_command_that_forgot_ctrl_c_is_interrupted_at_its_end(collect, end):
    @interrupts_kept()
    def command() -> None:
        collect()
        end()

    with pytest.raises(KeyboardInterrupt):
        command()


@SWALLOWED
def test_a_command_that_fails_after_ctrl_c_keeps_its_own_exit_code(collect):
    @interrupts_kept()
    def command() -> None:
        collect()
        sys.exit(3)

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 3


def test_other_signals_end_a_stage_as_preempted():
    @interruptible()
    def stage() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        check_stop()

    with pytest.raises(Preempted, match="the same command goes on"):
        stage()


def test_a_second_ctrl_c_interrupts_at_once():
    @interruptible()
    def stage() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("waited for a step")

    with pytest.raises(KeyboardInterrupt):
        stage()


def test_outside_of_stages_nothing_is_checked_and_handlers_are_as_before():
    before = signal.getsignal(signal.SIGINT)
    with interruptible(), interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    check_stop()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN], ids=["a terminal", "nohup"])
def test_a_terminal_that_closes_stops_what_nohup_has_not_told_to_go_on(before):
    kept = signal.signal(signal.SIGHUP, before)
    try:
        with stop_on_signals() as stop:
            # Without a handler of ours the one of a terminal would end this process.
            if signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
                os.kill(os.getpid(), signal.SIGHUP)
            assert stop() == (before == signal.SIG_DFL)
        assert signal.getsignal(signal.SIGHUP) == before
    finally:
        signal.signal(signal.SIGHUP, kept)
