"""The command line: thin commands over the stages, errors without tracebacks, documented exit codes.

stdout carries data, stderr progress and errors. Each command imports its stage inside, so that ``--help``, ``plan``,
``predict`` and ``recommend`` start without jax. Exit codes: 0 ok · 1 some runs failed, or the target was missed ·
2 usage or config · 3 no answer exists · 75 preempted, or stopped by what the machine
cannot do, resumable · 130 interrupted.
"""

from typing import Any

from scaling.cli.main import main

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    # All commands are loaded when the application is asked for, not with the entry point.
    if name == "app":
        from scaling.cli.application import app

        return app
    raise AttributeError(f"module 'scaling.cli' has no attribute {name!r}")
