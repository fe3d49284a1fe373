"""Published laws by name, each with its numbers, its source, and whether anyone has checked them.

`preset("besiroglu").law.loss(n=1e8, d=np.inf)` gives a number in the units of that paper's own set-up. Tokenizer,
corpus and counting of N differ, so losses of two presets do not compare, and none is a forecast for other data.
"""

from __future__ import annotations

from scaling.errors import SpecError
from scaling.laws.published.preset import Preset
from scaling.laws.published.settings import SETTING_PRESETS
from scaling.laws.published.sizes import SIZE_PRESETS
from scaling.laws.published.terms import TERM_PRESETS
from scaling.registry import did_you_mean

PRESETS: dict[str, Preset] = {found.name: found for found in (*SIZE_PRESETS, *SETTING_PRESETS, *TERM_PRESETS)}
"""Every published law by name."""


def preset(name: str) -> Preset:
    """The published law called `name`.

    >>> float(preset("besiroglu").law.loss(n=1e8, d=1e12).round(3))
    2.698

    Raises:
        SpecError: no preset has that name; says which do.
    """
    if name in PRESETS:
        return PRESETS[name]
    raise SpecError(f"unknown published law {name!r}{did_you_mean(name, PRESETS)}")
