"""Options that several commands share, and numbers as people write them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from scaling.cli.declared import argument, option
from scaling.errors import SpecError

if TYPE_CHECKING:
    from scaling.predict.recommend import Recommendation

Json = Annotated[bool, option("--json", help="Print the result as JSON on stdout.")]
Results = Annotated[
    Path | None,
    option("--results", readable=False, help="Results folder; by default that around a sweep's folder, or results."),
]
OnlyResults = Annotated[Path | None, option("--results", readable=False, help="Results folder; by default results.")]
Overrides = Annotated[
    list[str] | None,
    option("--set", metavar="KEY=VALUE", help="Change a value of the sweep file, as seeds=3; may be repeated."),
]
SweepFile = Annotated[
    Path,
    argument(
        readable=False,
        metavar="SWEEP.yaml",
        help="The sweep file, or the sweep's folder in the results.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int, option("--jobs", min=0, metavar="N", help="Worker processes; 0 means one a core, or an accelerator.")
]
Force = Annotated[bool, option("--force", help="Answer even far outside the data.")]


def workers(asked: int) -> int:
    """Workers: as asked, or one an accelerator that this process may use, where there is none one a core."""
    from scaling.sweep.accelerators import accelerators

    affinity = getattr(os, "sched_getaffinity", None)
    return asked or len(accelerators()) or (len(affinity(0)) if affinity else os.cpu_count() or 1)


def count(text: str, name: str) -> float:
    """``1e6``, ``10M``, ``inf`` as a positive number."""
    from scaling.numbers import resolve_scalar

    infinite = text.strip().lower() == "inf"
    value = math.inf if infinite else resolve_scalar(text.strip())
    # 1e400 is a slip of the pen, not the infinity that a float makes of it.
    too_large = value == math.inf and not infinite
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0 or too_large:
        raise SpecError(f"--{name}: got {text!r}, allowed is a positive number — for example 1e6, 10M, 2.5B or inf")
    return float(value)


def whole_count(text: str, name: str) -> int:
    """``2M`` as a whole number: what cannot be infinite."""
    value = count(text, name)
    if math.isinf(value):
        raise SpecError(f"--{name}: got inf, allowed is a finite number — for example 2M")
    return round(value)


def byte_count(text: str, name: str) -> int:
    """``64MiB`` or ``1e8`` as bytes."""
    from scaling.numbers import parse_bytes, resolve_scalar

    value = parse_bytes(resolve_scalar(text.strip()))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise SpecError(f"--{name}: got {text!r}, allowed is a size — for example 64MiB, 1.5GB or 1e8")
    return int(value)


def listed(text: str, name: str) -> list[str]:
    """``a, b`` as a list of words, each once and none of them empty."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise SpecError(f"--{name}: got {text!r}, allowed are words with a comma between two — leave the empty one out")
    return list(dict.fromkeys(found))


def one_of(command: str, options: Mapping[str, Any], *, example: str) -> str:
    """The option that was given, of several of which a command takes one.

    Args:
        command: That asks.
        options: Their values by name; None for one that was not given.
        example: One of them, as it is written.

    Raises:
        SpecError: none or several were given.
    """
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        raise SpecError(f"{command} needs one of {', '.join(options)} — got {got}; for example {example}")
    return given[0]


def is_sweep_file(path: Path) -> bool:
    """Whether a path is called as a sweep file is."""
    return path.suffix in (".yaml", ".yml")


def refuse_without_effect(beside: str, options: Mapping[str, Any]) -> None:
    """Refuse options that would change nothing.

    Args:
        beside: What makes them void.
        options: Their values by name; None for one that was not given.

    Raises:
        SpecError: one was given.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise SpecError(f"{', '.join(given)}: has no effect beside {beside} — leave it out")


def key_values(pairs: Iterable[str], name: str) -> dict[str, str | bool]:
    """``nodes=2`` as an entry; a key alone is a flag, true."""
    found: dict[str, str | bool] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not key.isidentifier() or (equals and not value.strip()):
            raise SpecError(f"--{name}: got {pair!r}, allowed is KEY=VALUE or KEY — for example nodes=2 or exclusive")
        if key in found:
            raise SpecError(f"--{name}: got {key} twice, allowed is each key once — leave one of the two out")
        found[key] = value.strip() if equals else True
    return found


def say(text: str) -> None:
    """A line for the person at the terminal; stdout stays free for data."""
    print(text, file=sys.stderr, flush=True)


def say_which(found: Recommendation) -> None:
    """Which student a stage is about."""
    question = found.question
    say(
        f"recommended for ≤ {question.target_loss:g} {found.unit} with P ≥ {question.probability:g}: width "
        f"{found.run.model.width}, run {found.run.run_id}, from fit {found.fit_id}"
    )


def emit(result: Any, *, as_json: bool, show) -> None:
    """Print a result: as JSON, or as the table that ``show`` draws."""
    if as_json:
        from scaling.formats.plain import to_json

        print(to_json(result))
    else:
        show(result)
