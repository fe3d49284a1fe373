"""A command line that is written plainly, read without the library of the application.

The library validates each value with pydantic, which takes longer to load than a forecast takes. Here a command's own
signature is read, as the library does: `--name value`, `--name=value` and flags. Whatever else is written (help, a
wrong name, a missing value, a number that is none) is left to the library, which knows what to say.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

READERS: dict[Any, Callable[[str], Any]] = {str: str, int: int, float: float, Path: Path}
"""Kinds of value that are read here."""


def read_plainly(command: Callable[..., None], words: Sequence[str]) -> dict[str, Any] | None:
    """Values of a command's parameters.

    Args:
        command: With options alone, each annotated with its option.
        words: After the command's name.

    Returns:
        Every parameter's value, its default where nothing was written; None where the words are not plain.
    """
    options = _options(command)
    values = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    # Word by word; the first that is not plain ends it.
    rest = list(words)
    while rest:
        word, equals, attached = rest.pop(0).partition("=")
        name, kind, is_list = options.get(word, ("", None, False))
        if kind is bool and not equals:
            values[name] = True
            continue
        if kind not in READERS or not (equals or rest):
            return None
        try:
            value = READERS[kind](attached if equals else rest.pop(0))
        except ValueError:
            return None
        values[name] = [*(values[name] or ()), value] if is_list else value
    return None if inspect.Parameter.empty in values.values() else values


def _options(command: Callable[..., None]) -> dict[str, tuple[str, Any, bool]]:
    """{option: (parameter, kind of value, whether it may be repeated)}."""
    found: dict[str, tuple[str, Any, bool]] = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        if name == "return":
            continue
        kind, is_list = _kind(get_args(hint)[0])
        for said in get_args(hint)[1:]:
            found |= {word: (name, kind, is_list) for word in said.names}
    return found


def _kind(hint: Any) -> tuple[Any, bool]:
    """The kind of value of `str | None`, `list[str] | None` or `bool`."""
    parts = [part for part in get_args(hint) if part is not NoneType] if NoneType in get_args(hint) else [hint]
    (kind,) = parts if len(parts) == 1 else (None,)
    return (get_args(kind)[0], True) if get_origin(kind) is list else (kind, False)
