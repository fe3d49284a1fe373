"""What to type next where the runs of a sweep do not determine a law: no text is a dead end."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from scaling.accounting import count_parameters
from scaling.chain.workspace import Workspace
from scaling.fit.reach import INSIDE
from scaling.records.ahead import may_keep

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.result import Fit

GUESSED_FLOOR = 0.75
"""Of the lowest loss, in the command that is offered: a guess to start from, no more."""

WIDE_ENOUGH = 4.0
"""Factor of N, or of D, from which on a grid is not warned of: with an exponent of .35 a term falls by two fifths over
it."""


def ways_on(workspace: Workspace, fit: Fit, table: pd.DataFrame) -> list[str]:
    """Commands, each with what it does, that lead on from a fit whose floor is not identified."""
    done = table[table["status"] == "done"]
    lowest = float(done[fit.columns["loss"]].min())
    # As the file asks for them, so that the runs that are there are those of the wider grid too.
    widths, tokens = sorted({run.model.width for run in workspace.runs}), sorted({run.tokens for run in workspace.runs})
    command = workspace.command
    ways = [
        f"{command('scaling fit')} --held E={GUESSED_FLOOR * lowest:.2g}   # a floor that you know; this is a guess",
        f"{command('scaling fit')} --law kaplan-nd   # a law without a floor",
    ]
    # A budget buys a part of a sweep, whose other runs come before any new ones.
    left = [run for run in workspace.runs if run.run_id not in set(done["run_id"])] if "run_id" in done else []
    if left:
        rest = f"trains what is left of it, {len(left)} of {len(workspace.runs)} runs"
        return [f"{command('scaling sweep')}   # {rest}", ways[0]]
    # One size and one volume beyond the largest are what shows a floor soonest.
    more = [f"model.width={[*widths, 2 * widths[-1]]}", f"tokens={[*tokens, 4 * tokens[-1]]}"]
    plan = " ".join(f"--set {shlex.quote(text)}" for text in more)
    return [*ways, f"{command('scaling plan')} {plan}   # what runs would cost that show one"]


def grid_warning(workspace: Workspace) -> str | None:
    """A sentence where a sweep is unlikely to show the floor of its loss, or any loss to its fit, before it is trained.

    With the published exponents near 0.35 a term falls to half over a factor of 7: a grid that is narrower in N or
    in D sees hardly more than a straight line.
    """
    runs = may_keep(workspace.config.fit.where, workspace.runs)
    if not runs:
        return "no run of the sweep passes fit.where, so there will be nothing to fit; widen the filter"
    if "E" in (workspace.config.fit.held or {}):
        return None
    for name, values in (
        ("N", [count_parameters(run.model).n_params for run in runs]),
        ("D", [run.n_tokens for run in runs]),
    ):
        # Of a single level the plan warns already.
        if min(values) < max(values) < WIDE_ENOUGH / INSIDE * min(values):
            return (
                f"{name} varies by a factor of {max(values) / min(values):.3g} only: the floor of the loss will hardly "
                f"show, and forecasts will hold inside the grid alone; widen it to {WIDE_ENOUGH:g} and more, or hold E "
                "under fit.held"
            )
    return None
