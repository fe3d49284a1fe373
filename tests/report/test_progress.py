"""A sweep on a terminal is one table in its place, at any width; elsewhere a line a trunk and a branch."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace

import pytest

from scaling.records import RunStore
from scaling.report.progress import chosen, show_progress
from scaling.spec import RunSpec
from scaling.sweep.board import TrunkLine
from scaling.sweep.plan import Plan, plan
from scaling.sweep.progress import Event


def made(folder, widths=(32, 64, 96)) -> Plan:
    """A plan of one trunk a width, each with two branches."""
    base = {"data": {"source": {"kind": "w0"}}}
    specs = [
        RunSpec.model_validate(base | {"model": {"vocab_size": 65, "width": width, "context": 40}, "tokens": tokens})
        for width in widths
        for tokens in (6400, 12800)
    ]
    return plan(specs, RunStore(folder))


def worked(plan: Plan, index: int) -> list[Event]:
    """What the worker of one trunk tells."""
    trunk = plan.trunks[index]
    tell = {"worker": "w", "trunk_id": trunk.trunk_id, "steps": 20}
    ends = [Event(kind="done", run_id=run_id, loss=1.5, **tell) for run_id in trunk.run_ids]
    steps = [Event(kind="step", step=step, loss=2.5, tokens_per_s=1000.0, **tell) for step in (5, 10, 15)]
    return [Event(kind="claimed", **tell), *steps, *ends, Event(kind="finished", **tell)]


def test_without_a_terminal_there_is_a_line_a_trunk_and_a_branch(tmp_path):
    sweep, stream = made(tmp_path), io.StringIO()
    with show_progress(sweep, stream=stream) as listener:
        for index in range(3):
            for event in worked(sweep, index):
                listener(event)
    lines = stream.getvalue().splitlines()
    assert [sum(f" {kind}" in line for line in lines) for kind in ("claimed", "done", "finished")] == [3, 6, 0]
    assert len(lines) == 9
    assert lines[-1].startswith("[100%]")
    assert "\x1b" not in stream.getvalue()


def test_a_trunk_that_others_trained_is_told_once(tmp_path):
    sweep, stream = made(tmp_path), io.StringIO()
    with show_progress(sweep, stream=stream) as listener:
        for worker in "ab":
            listener(Event(kind="finished", worker=worker, trunk_id=sweep.trunks[0].trunk_id))
    assert len(stream.getvalue().splitlines()) == 1


def test_a_text_in_the_making_is_told_once(tmp_path):
    sweep, stream = made(tmp_path), io.StringIO()
    with show_progress(sweep, stream=stream) as listener:
        for part in range(9):
            told = {"worker": "w", "trunk_id": sweep.trunks[0].trunk_id}
            listener(Event(kind="preparing", message=f"{part} of 9 blocks", **told))
    assert stream.getvalue().splitlines() == [f"[  0%] w {sweep.trunks[0].trunk_id} preparing — 0 of 9 blocks"]


def test_of_many_trunks_those_that_are_worked_on_are_shown_in_their_order():
    lines = [TrunkLine(trunk_id=f"t{i:02}", teacher="real", n_params=1) for i in range(30)]
    lines[:10] = [replace(line, state="done") for line in lines[:10]]
    lines[3] = replace(lines[3], state="failed")
    lines[12] = replace(lines[12], state="training")
    kept, rest = chosen(lines, 6)
    assert [line.trunk_id for line in kept] == ["t03", "t08", "t09", "t10", "t11", "t12"]
    assert rest == ["not shown: 7 done, 17 waiting"]
    assert chosen(lines[:4], 6) == (lines[:4], [])


CHILD = """
import sys
sys.path.insert(0, {here!r})
from test_progress import made, worked
from scaling.report.progress import show_progress
sweep = made({folder!r})
with show_progress(sweep) as listen:
    for index, events in ((0, worked(sweep, 0)), (1, worked(sweep, 1)[:3])):
        for event in events:
            listen(event)
    sys.stdin.readline()
"""

FOLLOWER = """
import itertools, sys
sys.path.insert(0, {here!r})
from test_progress import made
from scaling.records import RunStore
from scaling.report.status import show_status
from scaling.sweep.status import status
sweep = made({folder!r})
show_status(lambda: status(sweep.trunks, RunStore({folder!r})), watch=True, as_json=False)
"""

STOPPED = """
import sys
sys.path.insert(0, {here!r})
from test_progress import made, worked
from scaling.report.progress import show_progress
from scaling.stop import stop_on_signals
from scaling.sweep.progress import Event
sweep = made({folder!r})
with stop_on_signals() as stop, show_progress(sweep) as listen:
    for event in worked(sweep, 0)[:3]:
        listen(event)
    stop.wait(60)
    listen(Event(kind="released", worker="w", trunk_id=sweep.trunks[0].trunk_id, message="state is saved"))
"""

LAST_LINE = "loss: nats/token"
"""How the last line of a table begins."""


class Terminal:
    """A child on a terminal of its own, and what its screen shows."""

    def __init__(self, code: str, folder, columns: int, **environment: str):
        self._ours, theirs = pty.openpty()
        self.lines, self.row, self.column, self.said, self._unread = [""], 0, 0, "", b""
        self.resize(columns)
        code = code.format(here=os.path.dirname(__file__), folder=str(folder))
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            env=plain | {"TERM": "xterm"} | environment,
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.communicate()
        os.close(self._ours)

    def resize(self, columns: int, rows: int = 24) -> None:
        """As terminals do: lines that became too long are broken, and the cursor stays where it was in the text."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.columns = columns
        above = [part for line in self.lines[: self.row] for part in self._broken(line)]
        last = self._broken(self.lines[self.row])
        self.lines = [*above, *last, *self.lines[self.row + 1 :]]
        self.row, self.column = len(above) + len(last) - 1, len(last[-1])

    def wait_for(self, pattern: str) -> str:
        """Read until the screen shows something in a whole table; gives the screen."""
        until = time.monotonic() + 60
        # What is read may end in the middle of a table: a whole one leaves the cursor on its last line.
        while not (self.lines[self.row].startswith(LAST_LINE) and re.search(pattern, "\n".join(self.lines))):
            assert time.monotonic() < until, f"no {pattern} in\n" + "\n".join(self.lines)
            if select.select([self._ours], [], [], 0.1)[0]:
                self._read()
        return "\n".join(self.lines)

    def end(self, signal_number: int | None = None) -> str:
        if signal_number is None:
            self.child.stdin.close()
        else:
            self.child.send_signal(signal_number)
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                self._read()
        self.child.wait()
        return "\n".join(self.lines)

    def _broken(self, line: str) -> list[str]:
        return [line[i : i + self.columns] for i in range(0, len(line), self.columns)] or [""]

    def _read(self) -> None:
        self._unread += os.read(self._ours, 65536)
        # The end of what was read may be the beginning of a letter or of a control sequence.
        whole = re.match(
            rb"(?:[\x00-\x1a\x1c-\x7f]|[\xc0-\xff][\x80-\xbf]+(?=[^\x80-\xbf])|\x1b\[[?\d;]*[a-zA-Z])*", self._unread
        )
        text, self._unread = whole[0].decode(), self._unread[whole.end() :]
        self.said += text
        for piece in re.findall(r"\x1b\[[?\d;]*[a-zA-Z]|.", text, flags=re.DOTALL):
            self._take(piece)

    def _take(self, piece: str) -> None:
        if piece == "\r":
            self.column = 0
        elif piece == "\n":
            self.row, self.column = self.row + 1, 0
        elif piece.startswith("\x1b"):
            self._control(piece)
        else:
            if self.column == self.columns:
                self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + piece + line[self.column + 1 :]
            self.column += 1
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def _control(self, piece: str) -> None:
        if piece.endswith("A"):
            self.row = max(0, self.row - int(piece[2:-1]))
        elif piece.endswith("K"):
            self.lines[self.row] = ""
        elif piece.endswith("J"):
            self.lines = [""] * len(self.lines)
        elif piece.endswith("H"):
            self.row = self.column = 0
        else:
            assert piece[-1] in "mhl", f"unknown control {piece!r}"


@pytest.fixture
def open_terminal(tmp_path):
    with contextlib.ExitStack() as opened:
        yield lambda code, columns, **environment: opened.enter_context(
            Terminal(code, tmp_path, columns, **environment)
        )


def test_a_terminal_shows_one_table_that_stays_whole_when_it_becomes_narrow(open_terminal):
    terminal = open_terminal(CHILD, 90)
    screen = terminal.wait_for("training 50%")
    assert [screen.count(head) for head in ("trunk  ", "tokens/s  left", "2 of 6 runs")] == [1, 1, 1]
    assert re.search(r"real +26.78k +done +1\.500", screen)
    terminal.resize(44)
    screen = terminal.wait_for(r"state +loss +left\n(.*\n)+trunk: one training, from which a")
    assert [screen.count(head) for head in ("trunk  ", "2 of 6 runs", "training 50%", "teacher")] == [1, 1, 1, 0]
    assert max(map(len, terminal.lines)) <= 44
    screen = terminal.end()
    assert screen.count("trunk  ") == 1
    assert terminal.said.rstrip().endswith("\x1b[?25h"), "the cursor stays hidden"


def test_without_colour_the_table_says_the_same(open_terminal):
    terminal = open_terminal(CHILD, 60, NO_COLOR="1")
    terminal.wait_for("training 50%")
    terminal.end()
    assert not re.findall(r"\x1b\[(?:\d+;)*[349][0-7](?:;\d+)*m", terminal.said)


def test_a_table_that_is_interrupted_leaves_a_terminal_with_its_cursor(open_terminal):
    terminal = open_terminal(CHILD, 60)
    terminal.wait_for("training 50%")
    terminal.end(signal.SIGINT)
    assert terminal.said.count("\x1b[?25l") == terminal.said.count("\x1b[?25h") == 1
    assert terminal.said.index("\x1b[?25h") > terminal.said.index("training 50%")


def test_a_table_says_what_ctrl_c_does_while_states_are_saved(open_terminal):
    terminal = open_terminal(STOPPED, 100)
    assert "stopping" not in terminal.wait_for("training 50%")
    screen = terminal.end(signal.SIGINT)
    assert screen.index("released — state is saved") < screen.index("trunk  ")
    assert re.search("stopping as asked: .*\n *the same command goes on", screen)


def test_another_terminal_follows_the_same_sweep(open_terminal):
    terminal = open_terminal(FOLLOWER, 80)
    screen = terminal.wait_for("0 of 6 runs")
    assert screen.count("waiting") == 3
    assert screen.count("trunk  ") == 1
    terminal.end(signal.SIGINT)
    assert terminal.said.count("\x1b[?25h") == 1
