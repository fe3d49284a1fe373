"""Laws by name: what a command line, a saved fit or a stack calls them.

A name is a base law ("chinchilla"), a law on the Chinchilla base ("q1"), or a law on another base ("tied+q1").
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

# Nearly every fit is of these laws: registered here, they are found without a search for others.
import scaling.laws.coupled
import scaling.laws.size_and_data
import scaling.laws.teacher  # noqa: F401
from scaling.errors import SpecError
from scaling.laws.law import LAWS, ScalingLaw
from scaling.registry import did_you_mean

STACK = "stack"
AUTO = "auto"


def named_law(name: str, **structure: Any) -> ScalingLaw:
    """The form of that name, without numbers.

    Args:
        name: as above.
        **structure: keyword arguments of the law's class (as `teachers` of a teacher form).

    Raises:
        SpecError: no such law, the name of a published one, or a base or structure that it does not have.
    """
    *base, name = name.split("+")
    if len(base) > 1 or (base and "base" in structure):
        raise SpecError(f"law {name!r} stands on one base, got {'+'.join(base)}: write BASE+LAW, as tied+q1")
    if name not in LAWS:
        raise SpecError(_no_form(name))
    structure |= {"base": base[0]} if base else {}
    _check_structure(name, structure)
    return LAWS[name](**structure)


def _no_form(name: str) -> str:
    """What is said of a name that no form has."""
    from scaling.laws.presets import PRESETS

    if name in (STACK, AUTO):
        return f"{name!r} is no law but a choice among laws, which a fit makes: write it alone, and to a fit"
    # A published law is known by the name of its source, a form by its own.
    if name in PRESETS and isinstance(published := PRESETS[name].law, ScalingLaw):
        known = f"{name!r} is a published law, its numbers known"
        return f"{known}: forecast with it by that name, or fit its form, {published.name!r}"
    hint = did_you_mean(name, (*LAWS, STACK, AUTO))
    return f"unknown law {name!r}{hint} (a law on another base is written BASE+LAW, as tied+q1)"


def _check_structure(name: str, structure: Mapping[str, Any]) -> None:
    """Refuse what a law is not built with: its class would take it for the value of a coefficient."""
    taken = signature(LAWS[name]).parameters
    if "base" in structure and "base" not in taken:
        on_base = ", ".join(one for one, law in LAWS.items() if "base" in signature(law).parameters)
        got = f"got base {structure['base']!r}"
        raise SpecError(f"law {name!r} stands on no base, {got}: write {name} alone; on a base stand {on_base}")
    if unknown := [key for key in structure if key not in taken]:
        raise SpecError(f"law {name!r} is not built with {', '.join(unknown)}: leave that out")
