"""Worlds: languages whose entropy is known exactly, and generators of their text, as it is and as teachers tell it."""

from __future__ import annotations

from functools import lru_cache

from scaling.data.worlds.generator import Divergence, Generator
from scaling.data.worlds.mixture import MixtureGenerator
from scaling.data.worlds.world import WORLDS, World
from scaling.spec import MixtureTeacher, RealTeacher, Teacher, WorldSource

__all__ = [
    "WORLDS",
    "Divergence",
    "Generator",
    "MixtureGenerator",
    "World",
    "divergence",
    "open_generator",
    "open_world",
]


@lru_cache(maxsize=4)
def open_world(source: WorldSource) -> World:
    """The world of a source; made once a process."""
    return WORLDS[source.kind](source)


@lru_cache(maxsize=8)
def open_generator(source: WorldSource, teacher: Teacher | None = None) -> Generator:
    """Who generates the text of a world, or of a teacher in it; made once a process.

    Raises:
        DataError: if the world has no such teacher.
    """
    if isinstance(teacher, MixtureTeacher):
        return open_world(source).mixture(open_generator(source, teacher.teacher), teacher.real)
    return open_world(source).generator(teacher or RealTeacher())


def divergence(source: WorldSource, teacher: Teacher) -> Divergence:
    """Exact KL(p‖q) of a teacher from its world, nats per scored token, split into coverage and noise.

    A mixture whose two parts are told apart by a token is not apart from the world: asked for real text, it is real.
    """
    if isinstance(teacher, MixtureTeacher) and teacher.source_token:
        return Divergence(coverage=0.0, noise=0.0)
    return open_generator(source, teacher).divergence()
