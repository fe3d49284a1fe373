"""A process that runs an engine: a job as JSON goes in, an answer as JSON comes out.

An engine is compiled code that may crash on a processor it was not built for. It always runs in a process of its own,
and a signal that ends that process means "engine unusable here", never the end of the caller.
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scaling.errors import EngineError
from scaling.export.engine import EngineRun, FileRefusedError
from scaling.stop import check_stop

WORKERS = Path(__file__).with_name("workers")
"""Where the scripts lie that run in a child."""

POLL_S = 0.2
"""How often a process that waits for an engine looks whether it was asked to stop."""

LIMIT = "SCALING_ENGINE_S"
"""Environment variable: the longest wait for any engine, converter or interpreter, s, in place of each one's own."""


def run_child(
    script: Path,
    job: Mapping[str, Any],
    *,
    engine: str,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> dict[str, Any]:
    """Run one job in a fresh process and return its answer.

    Args:
        script: Reads a job from stdin and writes its answer to stdout; it is started by path and imports nothing of
            this project, so that its memory is the engine's and the interpreter's alone.
        job: What to do; ``path`` names the file.
        engine: Name of the engine in messages.
        timeout_s: Longest wait, where :data:`LIMIT` says no other.
        env: Environment variables beside those of this process.
        python: The interpreter; another one where an engine cannot be installed beside this project.

    Raises:
        FileRefusedError: the script ended with an error: the engine works, but not with this file.
        EngineError: it crashed, took too long, or answered something that is no answer.
    """
    timeout_s = longest_wait(timeout_s)
    try:
        code, answer, said = run_group([python, "-P", str(script)], json.dumps(job), timeout_s=timeout_s, env=env)
    except TimeoutError as error:
        raise EngineError(
            f"{engine} did not finish within {timeout_s:g} s and was stopped: it hangs here, or the machine is busy; "
            f"try again with more ({LIMIT}={2 * timeout_s:g}), or name another --engine or --format"
        ) from error
    # A signal is the engine's end here, whatever the file; an exit code is its answer to this file.
    if code < 0:
        name = signal.Signals(-code).name
        raise EngineError(f"{engine} is unusable here: it crashed with {name}\n{_tail(said)}")
    if code:
        raise FileRefusedError(f"{engine} could not run {job['path']}\n{_tail(said)}")
    with as_asked(engine):
        return dict(json.loads(answer))


def longest_wait(usual_s: float) -> float:
    """Seconds that a program gets: what :data:`LIMIT` says, else what is usual.

    Raises:
        EngineError: it says no time.
    """
    said = os.environ.get(LIMIT) or f"{usual_s}"
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise EngineError(
            f"{LIMIT}={said}: allowed are seconds above 0, as {LIMIT}={usual_s:g}; set it so, or unset it"
        )
    return seconds


def run_group(
    command: Sequence[str], said: str = "", *, timeout_s: float, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a program, which with all that it started is gone afterwards.

    Args:
        command: The program and its arguments.
        said: Written to its stdin.
        timeout_s: Longest wait.
        env: Environment variables beside those of this process.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end in time.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | dict(env or {}),
        # Ctrl-C at a terminal goes to a whole group: the engine would die of it, and look as if it refused the file.
        start_new_session=True,
    ) as child:
        try:
            answer, errors = _wait(child, said, deadline=time.monotonic() + timeout_s)
        finally:
            # Whatever happened here, no process is left behind: not the child, and none that it started.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, answer, errors


def engine_run(answer: dict[str, Any], job: dict[str, Any], *, engine: str, code_bytes: int) -> EngineRun:
    """What a worker answered, as a run."""
    decode = [pass_["decode"] for pass_ in answer["speed"]]
    prompt = [pass_["prompt"] for pass_ in answer["speed"]]
    # Not every engine can tell its own seconds of a processor.
    busy = [pass_["busy"] for pass_ in answer["speed"] if "busy" in pass_]
    before = answer["before"]["allocated"]
    most = max(answer["held"], key=lambda held: held["allocated"] + held["mapped"])
    allocated, mapped = most["allocated"] - before, most["mapped"]
    return EngineRun(
        engine=engine,
        token_ids=tuple(answer["token_ids"]),
        text=answer["text"],
        ended=answer["ended"],
        prompt_tokens_per_s=statistics.median(prompt) if prompt else None,
        tokens_per_s=statistics.median(decode) if decode else None,
        tokens_per_s_range=(min(decode), max(decode)) if decode else None,
        busy_tokens_per_s=statistics.median(busy) if busy else None,
        load_s=answer["load_s"],
        peak_bytes=allocated + mapped + code_bytes,
        allocated_bytes=allocated,
        mapped_bytes=mapped,
        threads=job["threads"],
        load_average=answer["load_average"],
        # Beside the load of the whole machine, whatever share of it this process may use.
        cores=os.cpu_count() or 1,
    )


@contextmanager
def as_asked(engine: str) -> Iterator[None]:
    """Read an engine's answer: whatever is wrong with it is one error of the engine.

    Raises:
        EngineError: the answer is not what was asked for.
    """
    try:
        yield
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise EngineError(f"{engine} answered something else than asked ({what}); another version may do") from error


def _wait(child: subprocess.Popen[str], job: str, *, deadline: float) -> tuple[str, str]:
    """What the child wrote to stdout and stderr, once it has ended."""
    todo: str | None = job
    while True:
        try:
            return child.communicate(todo, timeout=POLL_S)
        except subprocess.TimeoutExpired as error:
            todo = None  # it is sent once
            check_stop()
            if time.monotonic() > deadline:
                raise TimeoutError from error


def _tail(text: str, lines: int = 6) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
