"""Languages whose entropy is known exactly, and teachers of every grade that speak them."""

from __future__ import annotations

from functools import lru_cache

from scaling.data.worlds.w0 import World
from scaling.data.worlds.w0_teachers import Divergence, Language, divergence, language
from scaling.spec import WorldSource

__all__ = ["Divergence", "Language", "World", "divergence", "language", "open_world"]


@lru_cache(maxsize=4)
def open_world(source: WorldSource) -> World:
    """The world that a source describes, made once a process."""
    return World(alpha=source.alpha, n_records=source.n_records, seed=source.seed)
