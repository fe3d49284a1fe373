"""Languages whose entropy is known exactly, and teachers of every grade that speak them."""

from __future__ import annotations

from functools import lru_cache

from scaling.data.worlds import w0, w0_teachers, w1, w1_teachers, w2
from scaling.data.worlds.language import Divergence, Language
from scaling.data.worlds.mixture import Mixture
from scaling.errors import DataError
from scaling.spec import RealTeacher, Teacher, WorldSource

__all__ = ["Divergence", "Language", "divergence", "entropy", "open_language"]


@lru_cache(maxsize=8)
def open_language(source: WorldSource, teacher: Teacher | None = None) -> Language:
    """The language of a world, or the one that a teacher speaks in it; made once a process."""
    world, teacher = _world(source), teacher or RealTeacher()
    if teacher.kind == "net":
        raise DataError("a net teacher speaks through its weights; open it with scaling.train.net.open_net")
    if teacher.kind == "mixture":
        return Mixture(open_language(source), open_language(source, teacher.teacher), teacher.real)
    return _SPEAKERS[source.kind](world, teacher)


def divergence(source: WorldSource, teacher: Teacher) -> Divergence:
    """Exact KL(p‖q) of a teacher from its world, nats per scored token, split into coverage and noise.

    A mixture whose writers are told apart by a token is not apart from the world: asked for real text, it is real.
    """
    if teacher.kind == "mixture" and teacher.source_token:
        return Divergence(coverage=0.0, noise=0.0)
    return open_language(source, teacher).divergence()


def entropy(source: WorldSource) -> float:
    """Exact entropy of a world, nats per scored token."""
    return _world(source).entropy


@lru_cache(maxsize=4)
def _world(source: WorldSource) -> w0.World | w1.World | w2.World:
    if source.kind == "w2":
        return w2.World(source.n_symbols, source.n_rules, source.branching, source.depth, source.seed)
    if source.kind == "w1":
        return w1.World(n_symbols=source.n_symbols, context=source.context, seed=source.seed)
    return w0.World(alpha=source.alpha, n_records=source.n_records, seed=source.seed)


_SPEAKERS = {"w0": w0_teachers.speaker, "w1": w1_teachers.speaker, "w2": w2.speaker}
