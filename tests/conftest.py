"""What every test needs: capped threads, shared caches of what is compiled, strict jax, no process left behind,
commands in this process, and the public run tables."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from scaling.records import RunStore

ROOT = Path(__file__).resolve().parents[1]

# Before jax is imported anywhere: CPU only, as many threads as a small machine has, rank promotion is an error.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
# Small programs too: the same few are compiled by every worker and by every command that is started.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "2")

# The same examples each time: what one run finds the next one finds too.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")

# Some containers forbid Python to keep what it has compiled: then every worker rewrites all tests again, and each of a
# hundred commands compiles the whole package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell without job control has its background jobs ignore Ctrl-C, and whatever they start inherits that: the programs
# whose Ctrl-C is tested too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: what is begun last is short, so no process waits long for another at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def children() -> dict[int, str]:
    """Command lines of the processes that this one has started and that still run, by id."""
    found = {}
    for listed in Path("/proc/self/task").glob("*/children"):
        for pid in listed.read_text().split():
            try:
                words = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except FileNotFoundError:
                continue
            # Python's own tracker of shared memory lives as long as its parent.
            if words and "multiprocessing.resource_tracker" not in words:
                found[int(pid)] = words
    return found


@pytest.fixture(autouse=True, scope="module")
def processes_end_with_the_tests_that_start_them() -> Iterator[None]:
    before = children()
    yield
    deadline = time.monotonic() + 30
    while (left := {pid: words for pid, words in children().items() if pid not in before}) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.1)
    assert not left, f"processes left behind: {left}"


@dataclass(frozen=True)
class Done:
    """What a command that has ended leaves behind."""

    returncode: int
    stdout: str
    stderr: str


def run_here(*arguments: str, cwd: Path) -> Done:
    """``scaling ARGUMENTS`` from its entry point, without the cold start of a process: a second, with jax three."""
    from scaling.cli import main

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["scaling", *arguments])
        # Set by the entry point for the process that it believes to be its own.
        patch.setenv("PYDANTIC_DISABLE_PLUGINS", "__all__")
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def scaling() -> Callable[..., Done]:
    """A command of the command line, run in this process."""
    return run_here


@pytest.fixture
def small_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text written with a cache of one size, which compiles in a fraction of the time; how it grows is tested in
    train/test_decode.py."""
    monkeypatch.setattr("scaling.train.student.decode.GROWTH_STEPS", 1)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A results folder of the test's own."""
    return RunStore(tmp_path / "results").prepare()


@pytest.fixture(scope="session")
def published() -> Path:
    """Folder of public run tables; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SCALING_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"public run tables are not at {folder}; set SCALING_SHARED to the folder that holds data/")
    return folder
