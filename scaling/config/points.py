"""The points of a sweep: what each run is given, in which order, and where every value is written."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scaling.config.document import Path_
from scaling.config.sweep import SweepConfig


@dataclass(frozen=True)
class Assignment:
    """One value given to a run.

    Attributes:
        target: path inside the run.
        value: what is put there.
        origin: path inside the sweep file.
    """

    target: tuple[str, ...]
    value: Any
    origin: Path_


@dataclass(frozen=True)
class LostAxis:
    """An axis that changes nothing.

    Attributes:
        origin: path inside the sweep file.
        path: inside the run.
        later: what replaces its values, with its section.
    """

    origin: Path_
    path: str
    later: str


def count_points(config: SweepConfig) -> int:
    """Runs before ``exclude`` and before runs that turn out equal are joined."""
    product = math.prod(len(values) for values in config.grid.values())
    product *= math.prod(len(next(iter(group.values()), [0])) for group in config.lockstep)
    if config.points and not config.grid and not any(config.lockstep):
        product = 0
    return (product + len(config.points)) * len(config.seeds or [0])


def points(config: SweepConfig) -> Iterator[list[Assignment]]:
    """The assignments of every run from ``base``, ``grid``, ``zip``, ``list`` and ``seeds``, in file order."""
    base = assignments(config.base, ("base",))
    for own in itertools.chain(_product(config), _listed(config)):
        for index, seed in enumerate(config.seeds or []):
            repeat = [Assignment((*path, "seed"), seed, ("seeds", index)) for path in ((), ("data",))]
            yield [*base, *own, *repeat]
        if config.seeds is None:
            yield [*base, *own]


def lost_axes(config: SweepConfig) -> Iterator[LostAxis]:
    """Axes whose values no run has: a later axis, or a rule, sets the same path or the whole that it is part of."""
    groups: list[tuple[str, Path_, dict[str, list[Any]]]] = [("grid", ("grid",), config.grid)]
    groups += [("zip", _zip_origin(config, number), group) for number, group in enumerate(config.lockstep)]
    axes = [(section, (*origin, path), path, group[path]) for section, origin, group in groups for path in group]
    # A mapping of paths is laid over what was there, and replaces nothing else.
    setters = [(section, path, any(map(_is_whole, values))) for section, _, path, values in axes]
    setters += [("derive", path, True) for path in config.derive]
    for number, (_, origin, path, values) in enumerate(axes, start=1):
        for section, later, is_whole in setters[number:]:
            if len(values) > 1 and is_whole and f"{path}.".startswith(f"{later}."):
                yield LostAxis(origin, path, later=f"{section}.{later}")


def assignments(values: dict[str, Any], origin: Path_, target: tuple[str, ...] = ()) -> list[Assignment]:
    """Flatten a mapping into assignments; one that holds ``kind`` or ``rule`` is a value and stays whole."""
    flat = []
    for key, value in values.items():
        place = (*target, *key.split("."))
        if not _is_whole(value):
            flat += assignments(value, (*origin, key), place)
        else:
            flat.append(Assignment(place, value, (*origin, key)))
    return flat


def build(given: list[Assignment]) -> dict[str, Any]:
    """The run that assignments describe; later ones win.

    Raises:
        PlacementError: if a value is to be set inside something that is not a mapping.
    """
    tree: dict[str, Any] = {}
    for assignment in given:
        put(tree, assignment)
    return tree


class PlacementError(Exception):
    """A path leads through a plain value."""

    def __init__(self, assignment: Assignment, through: Any):
        super().__init__(assignment, through)
        self.assignment, self.through = assignment, through


def put(tree: dict[str, Any], assignment: Assignment) -> None:
    """Set one value, making the mappings that lead to it."""
    here: Any = tree
    for step in assignment.target[:-1]:
        here = here.setdefault(step, {})
        if not isinstance(here, dict):
            raise PlacementError(assignment, here)
    here[assignment.target[-1]] = copy.deepcopy(assignment.value)


def origin_of(path: Path_, given: list[Assignment]) -> Path_:
    """Where in the file the value at a path of a run comes from."""
    for assignment in reversed(given):
        n = len(assignment.target)
        if path[:n] == assignment.target:
            return (*assignment.origin, *path[n:])
        # A mapping was taken apart: what is said of the whole is said of its last part.
        if path and assignment.target[: len(path)] == path:
            return assignment.origin
    return ("base", *path)


def _product(config: SweepConfig) -> Iterator[list[Assignment]]:
    if config.points and not config.grid and not any(config.lockstep):
        return iter(())
    axes: list[list[list[Assignment]]] = []
    for path, values in config.grid.items():
        axes.append([_level(path, value, ("grid", path, index)) for index, value in enumerate(values)])
    # A group without axes moves nothing; it does not take all runs away.
    for number, group in ((number, group) for number, group in enumerate(config.lockstep) if group):
        axes.append([_row(config, number, group, index) for index in range(len(next(iter(group.values()))))])
    return ([a for level in levels for a in level] for levels in itertools.product(*axes))


def _row(config: SweepConfig, number: int, group: dict[str, list[Any]], index: int) -> list[Assignment]:
    origin = _zip_origin(config, number)
    return [a for path, values in group.items() for a in _level(path, values[index], (*origin, path, index))]


def _zip_origin(config: SweepConfig, number: int) -> Path_:
    # A single group may be written as a mapping instead of a list of one.
    return ("zip",) if isinstance(config.document.values.get("zip"), dict) else ("zip", number)


def _level(path: str, value: Any, origin: Path_) -> list[Assignment]:
    target = tuple(path.split("."))
    return [Assignment(target, value, origin)] if _is_whole(value) else assignments(value, origin, target)


def _is_whole(value: Any) -> bool:
    """True where a value replaces what was there; a mapping of paths is laid over it."""
    return not isinstance(value, dict) or not value or bool(value.keys() & {"kind", "rule"})


def _listed(config: SweepConfig) -> Iterator[list[Assignment]]:
    return (assignments(point, ("list", index)) for index, point in enumerate(config.points))
