"""Published laws by name, each with its numbers, its source, and whether anyone has checked them.

`preset("besiroglu").law.loss(n=1e8, d=np.inf)` gives a number in the units of that paper's own set-up. Tokenizer,
corpus and counting of N differ, so losses of two presets do not compare, and none is a forecast for other data.
"""

from __future__ import annotations

from scaling.laws.published import sizes  # noqa: F401 - the laws of size and data, which are asked for most
from scaling.laws.published.preset import PRESETS, Preset

__all__ = ["PRESETS", "preset"]


def preset(name: str) -> Preset:
    """The published law called `name`.

    >>> float(preset("besiroglu").law.loss(n=1e8, d=1e12).round(3))
    2.698

    Raises:
        SpecError: no preset has that name; says which do.
    """
    return PRESETS[name]
