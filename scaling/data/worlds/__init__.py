"""Languages whose entropy is known exactly, and teachers of every grade that speak them."""

from __future__ import annotations

from functools import lru_cache

from scaling.data.worlds import w0, w0_teachers
from scaling.data.worlds.language import Divergence, Language
from scaling.spec import RealTeacher, Teacher, WorldSource

__all__ = ["Divergence", "Language", "divergence", "entropy", "open_language"]


@lru_cache(maxsize=8)
def open_language(source: WorldSource, teacher: Teacher | None = None) -> Language:
    """The language of a world, or the one that a teacher speaks in it; made once a process."""
    return w0_teachers.speaker(_world(source), teacher or RealTeacher())


def divergence(source: WorldSource, teacher: Teacher) -> Divergence:
    """Exact KL(p‖q) of a teacher from its world, nats per scored token, split into coverage and noise."""
    return w0_teachers.knowledge(_world(source), teacher).divergence(_world(source))


def entropy(source: WorldSource) -> float:
    """Exact entropy of a world, nats per scored token."""
    return _world(source).answer_entropy


@lru_cache(maxsize=4)
def _world(source: WorldSource) -> w0.World:
    return w0.World(alpha=source.alpha, n_records=source.n_records, seed=source.seed)
