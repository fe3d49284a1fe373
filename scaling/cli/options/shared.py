"""Options that several commands share, and numbers as people write them."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from scaling.cli.options.declared import argument, option
from scaling.errors import SpecError
from scaling.machine import cores

if TYPE_CHECKING:
    from scaling.predict.recommend.recommendation import Recommendation

Value = TypeVar("Value")
_COMMA = re.compile(r",(?=(?:[^`]*`[^`]*`)*[^`]*$)")
Read = Callable[[str, str], Value]
"""What makes a value of a text; it takes the name of the value too, for its own message."""

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

    return asked or len(accelerators()) or cores()


def count(text: str, name: str) -> float:
    """``1e6``, ``10M``, ``inf`` as a positive number."""
    from scaling.numbers import positive

    return positive(text, f"--{name}")


def whole_count(text: str, name: str) -> int:
    """``2M`` as a whole number: what cannot be infinite."""
    value = count(text, name)
    if math.isinf(value):
        raise SpecError(f"--{name}: got inf, allowed is a finite number — for example 2M")
    if value != round(value):
        raise SpecError(f"--{name}: got {text!r}, allowed is a whole number — for example 16 or 2M")
    return round(value)


def count_or_zero(text: str, name: str) -> float:
    """``0``, or a positive number."""
    from scaling.numbers import number_in

    return 0.0 if number_in(text) == 0 else count(text, name)


def finite(text: str, name: str) -> float:
    """``2.0`` or ``-0.5`` as a number."""
    from scaling.numbers import number_in

    value = number_in(text)
    if value is None or not math.isfinite(value):
        raise SpecError(f"--{name}: got {text!r}, allowed is a finite number — for example 4, 0.5 or 10M")
    return float(value)


def word(text: str, name: str) -> str:
    """A text as it is."""
    return text


def byte_count(text: str, name: str) -> int:
    """``64MiB`` or ``1e8`` as bytes."""
    from scaling.numbers import parse_bytes, resolve_scalar

    value = parse_bytes(resolve_scalar(text.strip()))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise SpecError(f"--{name}: got {text!r}, allowed is a size — for example 64MiB, 1.5GB or 1e8")
    return int(value)


def listed(text: str, name: str) -> list[str]:
    """``a, b`` as a list of words, each once and none of them empty; a comma in backticks is part of a name."""
    found = [word.strip() for word in _COMMA.split(text)]
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


def pairs(
    texts: Iterable[str] | None, name: str, read: Read[Value], *, example: str, alone: Value | None = None
) -> dict[str, Value]:
    """``bits=4`` as an entry, each key once; a key alone stands for `alone`, where there is such a value.

    Raises:
        SpecError: a pair without a key or a value, or a key that comes twice.
    """
    found: dict[str, Value] = {}
    for text in texts or ():
        key, equals, value = (part.strip() for part in text.partition("="))
        if lacks := "a key" if not key else "a value" if not value and (equals or alone is None) else "":
            raise SpecError(f"--{name}: got {text!r} without {lacks}, allowed is KEY=VALUE — for example {example}")
        if key in found:
            raise SpecError(f"--{name}: got {key} twice, allowed is each key once — leave one of the two out")
        found[key] = read(value, f"{name} {key}") if equals or alone is None else alone
    return found


def key_values(texts: Iterable[str] | None, name: str) -> dict[str, str | bool]:
    """``nodes=2`` as an entry; a key alone is a flag, true."""
    named = [_with_identifier(text, name) for text in texts or ()]
    return pairs(named, name, word, example="nodes=2, or exclusive alone", alone=True)


def _with_identifier(text: str, name: str) -> str:
    """A pair whose key is one to a program: ``gpus-per-task=1`` as ``gpus_per_task=1``."""
    key, *value = text.split("=", 1)
    found = key.strip().replace("-", "_")
    if found and not found.isidentifier():
        raise SpecError(f"--{name}: got the key {key!r}, allowed are letters, digits, - and _ — for example nodes=2")
    return "=".join([found, *value])


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
