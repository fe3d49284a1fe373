"""Laws by name: what a command line, a saved fit or a stack calls them.

A name is a base law ("chinchilla"), a law on the Chinchilla base ("q1"), or a law on another base ("tied+q1").
"""

from __future__ import annotations

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
        SpecError: no such law, the name of a published one, or a structure that it does not have.
    """
    base, plus, own = name.partition("+")
    if plus:
        return named_law(own, base=base, **structure)
    if name not in LAWS:
        from scaling.laws.presets import PRESETS

        # A published law is known by the name of its source, a form by its own.
        if name in PRESETS and isinstance(published := PRESETS[name].law, ScalingLaw):
            raise SpecError(
                f"{name!r} is a published law, its numbers known: forecast with it by that name, or fit "
                f"its form, {published.name!r}"
            )
        hint = did_you_mean(name, (*LAWS, STACK, AUTO))
        raise SpecError(f"unknown law {name!r}{hint} (a law on another base is written BASE+LAW, as tied+q1)")
    try:
        return LAWS[name](**structure)
    except TypeError as error:
        raise SpecError(f"law {name!r} cannot be built with {structure}: {error}") from error
