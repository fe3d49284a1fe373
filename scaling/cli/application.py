"""The application: all commands, and what is common to them."""

from __future__ import annotations

import os

import typer

from scaling.cli import (
    comparisons,
    compression,
    curves,
    fits,
    inspection,
    measures,
    pages,
    phones,
    predictions,
    recommendations,
    registered,
    solutions,
    stages,
    trackers,
)

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
recommendations.register(app)
predictions.register(app)
solutions.register(app)
comparisons.register(app)
measures.register(app)
curves.register(app)
phones.register(app)
registered.register(app)
inspection.register(app)
pages.register(app)
trackers.register(app)


@app.callback()
def _common(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if debug:
        os.environ["SCALING_DEBUG"] = "1"
