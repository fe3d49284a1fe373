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
    registered,
    stages,
    trackers,
)
from scaling.cli.options.declared import for_typer
from scaling.cli.options.strays import Command
from scaling.cli.predictions import predict
from scaling.cli.recommendations import recommend
from scaling.cli.solutions import solve, trends, vocabulary

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
for command in (recommend, predict, solve, trends, vocabulary):
    app.command(rich_help_panel="Fit, forecast, recommend (no jax)")(command)
comparisons.register(app)
measures.register(app)
curves.register(app)
phones.register(app)
registered.register(app)
inspection.register(app)
pages.register(app)
trackers.register(app)
for info in app.registered_commands:
    info.callback, info.cls = for_typer(info.callback) if info.callback else None, Command


@app.callback()
def _common(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if debug:
        os.environ["SCALING_DEBUG"] = "1"
