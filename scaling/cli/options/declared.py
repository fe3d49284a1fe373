"""Options as a command declares them, without the library that reads them: loading it takes a quarter of a forecast."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Option:
    """What is said of a parameter beside its type.

    Attributes:
        names: As they are written, ``--fit``; none for an argument, which is known by its place.
        settings: As typer calls them: help, metavar, least value.
    """

    names: tuple[str, ...]
    settings: Mapping[str, Any]


def option(*names: str, **settings: Any) -> Option:
    """A parameter that is written by its name."""
    return Option(names, settings)


def argument(**settings: Any) -> Option:
    """A parameter that is known by its place."""
    return Option((), settings)


def for_typer(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, its options declared as typer knows them."""

    def translated(*args: Any, **values: Any) -> None:
        command(*args, **values)

    hints = {name: _translated(hint) for name, hint in get_type_hints(command, include_extras=True).items()}
    signature = inspect.signature(command)
    parameters = [one.replace(annotation=hints[name]) for name, one in signature.parameters.items()]
    translated.__name__, translated.__doc__, translated.__annotations__ = command.__name__, command.__doc__, hints
    translated.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return translated


def _translated(hint: Any) -> Any:
    """``Annotated[kind, Option]`` with typer's own in place of it; any other hint as it is."""
    kind, *told = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    said = next((one for one in told if isinstance(one, Option)), None)
    if said is None:
        return hint
    import typer

    return Annotated[
        kind, typer.Option(*said.names, **said.settings) if said.names else typer.Argument(**said.settings)
    ]
