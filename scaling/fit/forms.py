"""Which forms a table is fitted with, in which versions, and which columns they read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scaling.errors import SpecError
from scaling.fit import select
from scaling.fit.stack.versions import ALL, OF_TEACHERS, PLAIN, Version, all_alike, determined, distinct
from scaling.laws.each_text import EachText
from scaling.laws.law import ScalingLaw
from scaling.laws.named import AUTO, STACK, named_law
from scaling.laws.teacher import TeacherLaw
from scaling.numbers import is_number, shortly
from scaling.tables.observations import Observations

STACKED_BASES = ("tied", "chinchilla", "skaling", "tied-skaling")
COUPLED = "tied-skaling"
"""Second base of a teacher form: as many coefficients as Chinchilla's, and N and D interact."""


def law_columns(law: str | ScalingLaw, n: str, d: str, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Columns of the table by the law's names of them."""
    sizes = {"n": n, "d": d}
    if not isinstance(law, ScalingLaw | str):
        raise SpecError(f"law: got {shortly(law)}, allowed is a law or the name of one — for example 'chinchilla'")
    if isinstance(law, ScalingLaw) or law not in (STACK, AUTO):
        form = named_law(law) if isinstance(law, str) else law
        sizes = {name: column for name, column in sizes.items() if name in form.columns}
    return sizes | dict(columns or {})


def chosen_forms(data: Observations, law: str | ScalingLaw, held, seed: int) -> tuple[list[ScalingLaw], list[dict]]:
    """The laws to fit, and the comparison that led to them."""
    if isinstance(law, ScalingLaw):
        return [law], []
    if law not in (STACK, AUTO):
        return [_with_teachers(named_law(law), data, held)], []
    forms = select.candidate_forms(data, held=held)
    if law == STACK and not any(isinstance(form, TeacherLaw) for form in forms):  # one kind of text: nothing to choose
        return _bases(data), []
    check_held(forms, held)
    candidates = select.compare(data, forms, held=held, seed=seed)
    rows = [candidate.row(candidates[0].aicc) for candidate in candidates]
    chosen = select.choose(candidates)
    if law == AUTO:
        return [chosen.law.unfitted()], rows
    if not isinstance(chosen.law, TeacherLaw):
        return _bases(data), rows
    tied = [c for c in select.eligible(candidates) if c.aicc - chosen.aicc < select.TIE] or [chosen]
    forms = [c.law.unfitted() for c in tied]
    coupled = [form.unfitted(base=COUPLED) for form in forms if form.only_on is None]
    return forms + [form for form in coupled if set(held or {}) <= set(form.names)], rows


def _bases(data: Observations) -> list[ScalingLaw]:
    """Base laws that the number of runs allows."""
    laws = [named_law(base) for base in STACKED_BASES]
    return [form for form in laws if len(data) > len(form.coefficients) + 1] or [named_law("tied")]


def _with_teachers(form: ScalingLaw, data: Observations, held) -> ScalingLaw:
    """A teacher form takes free divergences where the table does not know them."""
    if isinstance(form, EachText):
        return named_law(form.name, teachers=list(data.teachers))
    if isinstance(form, TeacherLaw) and "delta_noise" in form.columns and "delta_noise" not in data.columns:
        return form.unfitted(**select.free_divergences(data, held))
    return form


def check_held(forms: Sequence[ScalingLaw], held: Mapping[str, float] | None) -> None:
    for name, said in (held or {}).items():
        if not is_number(said):
            raise SpecError(f"cannot hold {name} at {shortly(said)}; allowed is a number, as held={{'E': 1.69}}")
        if any(name not in form.names for form in forms):
            names = sorted({name for form in forms for name in form.names})
            raise SpecError(f"cannot hold {name!r}: the coefficients are {', '.join(names)}")
    # Beyond its bounds a coefficient would be clipped, and the fit say that it holds what nobody asked for.
    for form in forms:
        for one in form.coefficients:
            value = (held or {}).get(one.name)
            if value is not None and not (math.isfinite(value) and one.low <= value <= one.high):
                allowed = f"a finite number from {one.low:g} to {one.high:g}"
                raise SpecError(f"cannot hold {one.name} of {form.name!r} at {value:g}; allowed is {allowed}")


def chosen_versions(forms: Sequence[ScalingLaw], data: Observations, law: str | ScalingLaw) -> tuple[Version, ...]:
    """How each form is fitted: a law that was asked for by name in one way, to all runs and without a prior; the forms
    of a stack in several. Those of teachers have no prior among them, for its exponents are published ones of large
    models, and their runs are mostly of small worlds."""
    if law != STACK:
        return (PLAIN,)
    versions = determined(OF_TEACHERS, data) if all_alike(forms) else ALL
    return distinct(versions, data, enough=max(len(form.coefficients) for form in forms) + 2)
