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


def count_points(config: SweepConfig) -> int:
    """Runs before ``exclude`` and before runs that turn out equal are joined."""
    product = math.prod(len(values) for values in config.grid.values())
    product *= math.prod(len(next(iter(group.values()), [0])) for group in config.lockstep)
    if config.points and not config.grid and not config.lockstep:
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


def assignments(values: dict[str, Any], origin: Path_, target: tuple[str, ...] = ()) -> list[Assignment]:
    """Flatten a mapping into assignments; one that holds ``kind`` or ``rule`` is a value and stays whole."""
    flat = []
    for key, value in values.items():
        place = (*target, *key.split("."))
        if isinstance(value, dict) and value and not value.keys() & {"kind", "rule"}:
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
    if config.points and not config.grid and not config.lockstep:
        return iter(())
    axes: list[list[list[Assignment]]] = []
    for path, values in config.grid.items():
        axes.append([_level(path, value, ("grid", path, index)) for index, value in enumerate(values)])
    for number, group in enumerate(config.lockstep):
        axes.append([_row(config, number, group, index) for index in range(len(next(iter(group.values()), [])))])
    return ([a for level in levels for a in level] for levels in itertools.product(*axes))


def _row(config: SweepConfig, number: int, group: dict[str, list[Any]], index: int) -> list[Assignment]:
    # A single group may be written as a mapping instead of a list of one.
    written = config.document.values.get("zip")
    origin: Path_ = ("zip",) if isinstance(written, dict) else ("zip", number)
    return [a for path, values in group.items() for a in _level(path, values[index], (*origin, path, index))]


def _level(path: str, value: Any, origin: Path_) -> list[Assignment]:
    target = tuple(path.split("."))
    if isinstance(value, dict) and value and not value.keys() & {"kind", "rule"}:
        return assignments(value, origin, target)
    return [Assignment(target, value, origin)]


def _listed(config: SweepConfig) -> Iterator[list[Assignment]]:
    return (assignments(point, ("list", index)) for index, point in enumerate(config.points))
