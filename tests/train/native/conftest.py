"""What tests of every part need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def with_threads() -> Callable[[str], set[str]]:
    """What a program prints in a process of one thread (a worker of the local executor) and in one of four."""

    def said(program: str) -> set[str]:
        found = set()
        for threads, flags in (("1", "--xla_cpu_multi_thread_eigen=false"), ("4", "")):
            environment = os.environ | {"NPROC": threads, "XLA_FLAGS": flags}
            command = [sys.executable, "-c", program]
            found.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        return found

    return said
