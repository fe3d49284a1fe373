"""A word that a command has no place for: which of its options takes it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from scaling.cli.options.shared import count, is_sweep_file
from scaling.errors import SpecError


class Command(TyperCommand):
    """A command that says where a word belongs which stands beside its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        left: list[str] = super().parse_args(ctx, args)
        if left and not ctx.resilient_parsing:
            options = {name for one in self.params for name in one.opts}
            said = " ".join(map(repr, left))
            ctx.fail(f"Got {said} without an option before it — {_belongs(left[0], options, ctx.command_path)}.")
        return left


def _belongs(word: str, options: Collection[str], command: str) -> str:
    """What takes a word, in one clause."""
    path = Path(word)
    if is_sweep_file(path) and "--fit" in options:
        fit = f"--fit results/{path.stem}/fit.json asks the fit of a sweep's runs, which `scaling fit {word}` writes"
        return f"{fit}; --sweep {word} stands beside a fit that lies elsewhere" if "--sweep" in options else fit
    if path.suffix == ".json" and "--fit" in options:
        return f"a fit is given as --fit {word}"
    if path.suffix == ".csv" and "--file" in options:
        return f"a ledger is given as --file {word}"
    if path.is_dir() and "--results" in options:
        return f"a results folder is given as --results {word}"
    if "--params" in options and _is_count(word):
        return f"a size is given as --params {word}"
    return f"what it takes is listed by `{command} --help`"


def _is_count(word: str) -> bool:
    try:
        return count(word, "params") > 0
    except SpecError:
        return False
