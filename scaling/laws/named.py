"""Laws by name: what a command line, a saved fit or a stack calls them.

A name is a base law ("chinchilla"), a teacher form on the Chinchilla base ("q1"), or a teacher form on another base
("tied+q1").
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from typing import Any

from scaling.errors import SpecError
from scaling.laws.law import ScalingLaw
from scaling.laws.size_and_data import BASE_LAWS
from scaling.laws.teacher import QUALITY_LAWS, TeacherLaw

STACK = "stack"
AUTO = "auto"


def all_laws() -> dict[str, type[ScalingLaw]]:
    """Every law class by name; the composed terms of `scaling.laws.terms` included."""
    laws = {**BASE_LAWS, **QUALITY_LAWS}
    if importlib.util.find_spec("scaling.laws.terms"):
        terms = importlib.import_module("scaling.laws.terms")
        laws |= getattr(terms, "TERM_LAWS", {})
    return laws


def named_law(name: str, **structure: Any) -> ScalingLaw:
    """The form of that name, without numbers.

    Args:
        name: as above.
        **structure: keyword arguments of the law's class (as `teachers` of a teacher form).

    Raises:
        SpecError: no such law, or a structure that it does not have.
    """
    base, plus, quality = name.partition("+")
    if plus:
        return named_law(quality, base=base, **structure)
    laws = {**BASE_LAWS, **QUALITY_LAWS}
    if name not in laws:
        laws = all_laws()
    if name not in laws:
        close = difflib.get_close_matches(name, [*laws, STACK, AUTO], 1)
        hint = f" — did you mean {close[0]!r}?" if close else ""
        raise SpecError(
            f"unknown law {name!r}: choose {STACK}, {AUTO}, or one of {', '.join(laws)}, or BASE+FORM "
            f"as 'tied+q1'{hint}"
        )
    try:
        return laws[name](**structure)
    except TypeError as error:
        raise SpecError(f"law {name!r} cannot be built with {structure}: {error}") from error


def label(law: ScalingLaw) -> str:
    """Short name of a law with its base: "tied+q1"; a teacher form on Chinchilla is just "q1"."""
    if isinstance(law, TeacherLaw) and law.base.name != "chinchilla":
        return f"{law.base.name}+{law.name}"
    return law.name
