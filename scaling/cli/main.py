"""The entry point: a user's mistake ends in one message and its exit code."""

from __future__ import annotations

import io
import os
import shlex
import sys
from importlib import import_module

from scaling.cli.options.quick import read_plainly
from scaling.errors import EXIT_INTERRUPTED, EXIT_USAGE, ScalingError
from scaling.files import machine_error
from scaling.stop import interrupts_kept

QUICK = {
    "predict": "predictions",
    "recommend": "recommendations",
    "solve": "solutions",
    "trends": "solutions",
    "vocabulary": "solutions",
}
"""Commands that answer at once, and their modules: they do without the other commands and their library, half of a cold
start."""


def main() -> None:
    """Entry point: a user's mistake prints one message and ends with its exit code."""
    # Nothing here is watched by plugins of pydantic, which at every start looks through all installed packages for one.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know ≤, or a path that is no text, is no reason to lose an answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with interrupts_kept():
            _run(sys.argv[1:])
    except ScalingError as error:
        if os.environ.get("SCALING_DEBUG"):
            raise
        # To have stopped at Ctrl-C is no error.
        print(error if error.exit_code == EXIT_INTERRUPTED else f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say_how_to_go_on()
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        # Typer turns Ctrl-C into its exit code, and says nothing.
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            _say_how_to_go_on()
        raise
    except BrokenPipeError:
        # The reader of stdout went away (as `| head` does): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (OSError, MemoryError, ImportError) as error:
        found = machine_error(error)
        # A module of our own that is absent is our mistake.
        if os.environ.get("SCALING_DEBUG") or (found is None and isinstance(error, ImportError)):
            raise
        print(f"error: {found or error}", file=sys.stderr)
        sys.exit(found.exit_code if found else EXIT_USAGE)


def _run(words: list[str]) -> None:
    """Run a command: one that only predicts without the rest of the application, if it is written plainly."""
    if words and words[0] in QUICK:
        command = getattr(import_module(f"scaling.cli.{QUICK[words[0]]}"), words[0])
        values = read_plainly(command, words[1:])
        if values is not None:
            command(**values)
            return
    from scaling.cli.application import app

    app()


def _say_how_to_go_on() -> None:
    command = shlex.join(["scaling", *sys.argv[1:]])
    print(f"interrupted; what was finished is kept — go on with: {command}", file=sys.stderr)
