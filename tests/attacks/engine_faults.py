"""Engines that crash, hang, flood or lie: each is a sentence, ends in time, and leaves no process behind.

    python tests/attacks/engine_faults.py [--count 200] [--seed 0]

In the place of the engine's process stands a script that does some of these things, drawn at random. Allowed are an
answer and an EngineError; whatever else is raised, and every process that is left, is a violation.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from summary import print_summary

from scaling.errors import EngineError
from scaling.export.child import LIMIT
from scaling.export.engines import llama_cpp

TIMEOUT_S = 3.0
"""Of one engine; one that hangs is waited for as long."""

MAY_END_S = 30.0
"""An engine that takes longer than this was not stopped."""

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL, signal.SIGTERM)

ANSWERS = ("", "{", "null", "[]", "NaN", "3", '"text"', '{"token_ids": 1}', '{"tokenized": null}', "[" * 100_000)

PREFACES = (
    "sys.stdin.read()",
    "sys.stderr.write('x' * 10_000_000)",
    "os.write(2, bytes(range(256)) * 1000)",
    "os.write(1, b'\\xff\\xfe')",
    "sys.stdout.write('y' * 5_000_000)",
    "os.close(0)",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', sys.argv[0]], stdout=2)",
)

ENDS = (
    *(f"os.kill(os.getpid(), {int(number)})" for number in CRASHES),
    *(f"sys.exit({code})" for code in (0, 1, 2, 255)),
    *(f"sys.stdout.write({answer!r})" for answer in ANSWERS),
    "raise MemoryError('engine')",
    "raise KeyError('tokens')",
    "time.sleep(600)",
)


def script(random_: random.Random) -> str:
    """What stands in the place of the engine."""
    prefaces = random_.sample(PREFACES, random_.randint(0, 3))
    return "\n".join(["import os, signal, subprocess, sys, time", *prefaces, random_.choice(ENDS)])


def attack(count: int, seed: int) -> tuple[int, float]:
    """Run engines, and return the number of violations and the longest time of one."""
    random_ = random.Random(seed)
    violations, slowest = 0, 0.0
    engine = llama_cpp.LlamaCpp()
    os.environ[LIMIT] = str(TIMEOUT_S)
    with tempfile.TemporaryDirectory() as name:
        model, worker = Path(name) / "model.gguf", Path(name) / "worker.py"
        model.write_bytes(b"unread")
        llama_cpp.WORKER = worker
        for i in range(count):
            worker.write_text(script(random_))
            asks = (lambda: engine.run(model, [1], n_tokens=1, context=40), lambda: engine.tokenize(model, ["a"]))
            ask = random_.choice(asks)
            began = time.perf_counter()
            said = ""
            try:
                ask()
            except EngineError:
                pass
            except BaseException as error:  # whatever it is, it is what this looks for
                said = f"{type(error).__name__}: {error}"
            took = time.perf_counter() - began
            slowest = max(slowest, took)
            left = processes_of(worker)
            if said or left or took > MAY_END_S:
                violations += 1
                print(f"engine {i} of seed {seed}: {said[:200]} left {left} after {took:.1f} s", file=sys.stderr)
                print(worker.read_text()[:500], file=sys.stderr)
    return violations, slowest


def processes_of(worker: Path) -> list[int]:
    """Processes whose command line names a script, and which do not end within seconds."""
    for _ in range(50):
        found = [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/cmdline") if _names(entry, worker)]
        if not found:
            break
        time.sleep(0.1)  # one that was killed takes a moment to go
    return found


def _names(entry: Path, worker: Path) -> bool:
    try:
        return str(worker).encode() in entry.read_bytes()
    except OSError:
        return False  # it has ended


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found, longest = attack(asked.count, asked.seed)
    print_summary("engine faults", tried=asked.count, violations=found, slowest_s=longest)
    sys.exit(found > 0)
