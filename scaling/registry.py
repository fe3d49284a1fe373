"""Kinds found by name: one table a kind of thing, which refuses a name it does not know.

A law, world, recipe, export format, engine or executor is added by one file in its room, or by another package through
an entry point; nothing else names it, and no ``else`` stands for "the other one".
"""

from __future__ import annotations

import difflib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from scaling.errors import ScalingError, SpecError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Entries by name, in the order in which they were added.

    Args:
        what: What an entry is, in words, for the message of an unknown name: ``law``, ``export format``.
        package: A package whose modules register themselves when they are imported; imported when a name is first
            missed, or when all names are asked for.
        group: An entry point group through which other packages add entries.
        error: What an unknown name raises.
    """

    def __init__(
        self,
        what: str,
        *,
        package: str | None = None,
        group: str | None = None,
        error: type[ScalingError] = SpecError,
    ):
        self.what, self.package, self.group, self.error = what, package, group, error
        self._entries: dict[str, T] = {}
        self._is_imported = self._is_complete = False

    def add(self, name: str, entry: T) -> T:
        """Add one entry.

        Raises:
            SpecError: another entry has that name.
        """
        if self._entries.get(name, entry) is not entry:
            raise self.error(f"two {self.what}s are called {name!r}: rename one of them")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that adds what it stands above."""
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise self.error(f"unknown {self.what} {name!r}{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        # Other packages are asked last: finding their entry points takes a tenth of a cold forecast.
        for look_further in (self._import_package, self._discover):
            if name in self._entries:
                return True
            look_further()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(self._entries)

    def __len__(self) -> int:
        self._discover()
        return len(self._entries)

    def _import_package(self) -> None:
        if self._is_imported or not self.package:
            return
        self._is_imported = True
        package = import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            import_module(f"{self.package}.{module.name}")

    def _discover(self) -> None:
        if self._is_complete:
            return
        self._is_complete = True
        self._import_package()
        if self.group:
            for entry in _installed(tuple(sys.path)).select(group=self.group):
                self.add(entry.name, entry.load())


@cache
def _installed(path: tuple[str, ...]) -> Any:
    """Entry points of all packages on a path (of a type that Python 3.12 changed), looked through once for all."""
    from importlib.metadata import entry_points

    return entry_points()


def did_you_mean(word: Any, allowed: Iterable[str]) -> str:
    """`` — did you mean 'width'?`` where something allowed is close, else the allowed words."""
    allowed = sorted({str(name) for name in allowed})
    close = difflib.get_close_matches(str(word), allowed, n=1, cutoff=0.6)
    if close:
        return f" — did you mean {close[0]!r}?"
    return f" — allowed: {', '.join(allowed)}" if allowed else ""


def one_begun(label: str, known: Iterable[str]) -> str | None:
    """The label that is meant: this one, or the only one that begins so, as ``trained`` of ``trained 878802d57c``."""
    known = list(known)
    begun = [label] if label in known else [one for one in known if one.startswith(f"{label} ")]
    return begun[0] if len(begun) == 1 else None
