"""The application: what is common to all commands."""

from __future__ import annotations

import io
import os
import shlex
import sys

import typer

from scaling.cli import comparisons, compression, curves, fits, inspection, predictions, registered, stages, trackers
from scaling.errors import EXIT_INTERRUPTED, EXIT_USAGE, ScalingError
from scaling.files import machine_error
from scaling.stop import interrupts_kept

app = typer.Typer(
    name="scaling",
    help="Which is the smallest language model, trained on text that a larger one generates, that reaches a target "
    "loss and fits a phone as int8? `scaling run SWEEP.yaml` answers; each stage is a command of its own.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stages.register(app)
compression.register(app)
fits.register(app)
predictions.register(app)
comparisons.register(app)
curves.register(app)
registered.register(app)
inspection.register(app)
trackers.register(app)


@app.callback()
def _common(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if debug:
        os.environ["SCALING_DEBUG"] = "1"


def main() -> None:
    """Entry point: a user's mistake prints one message and ends with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know ≤, or a path that is no text, is no reason to lose an answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with interrupts_kept():
            app()
    except ScalingError as error:
        if os.environ.get("SCALING_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
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
    except (OSError, MemoryError) as error:
        if os.environ.get("SCALING_DEBUG"):
            raise
        found = machine_error(error)
        print(f"error: {found or error}", file=sys.stderr)
        sys.exit(found.exit_code if found else EXIT_USAGE)


def _say_how_to_go_on() -> None:
    command = shlex.join(["scaling", *sys.argv[1:]])
    print(f"interrupted; what was finished is kept — go on with: {command}", file=sys.stderr)
