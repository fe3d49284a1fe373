"""Versions of one form: with and without a prior, on all runs and on the better trained ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.fit.identify import LEVELS_NEEDED, levels
from scaling.fit.solve.prior import Prior
from scaling.laws.law import ScalingLaw
from scaling.laws.teacher import TeacherLaw
from scaling.tables.observations import Observations

Array = np.ndarray
WINDOWS = (1.0, 0.75, 0.5, 0.35)
"""Barely trained runs bend a law that is asked about well trained ones, and where the bend begins differs by table."""
EXPONENT, EXPONENT_SPREAD = 0.35, 0.12
"""Published exponents of size and data: Hoffmann .34 and .28, Besiroglu .35 and .37, Muennighoff .35, Busbridge .41 and
.43, Gadre .27, Kumar .50, Sardana .18 and .24."""
POWER_SPREAD = 0.3
"""Published powers of the sum lie around one on a logarithmic scale: 1 (Hoffmann), .76 and .45 (Busbridge), .3-.9
(Skaling)."""


@dataclass(frozen=True)
class Version:
    """How a form is fitted.

    Attributes:
        prior: "none", or "level": exponents near .35, the power of the sum near one.
        window: share of the runs that is kept, those with the lowest losses.
    """

    prior: Literal["none", "level"] = "none"
    window: float = 1.0


PLAIN = Version()
ALL = tuple(Version(prior, window) for prior in ("none", "level") for window in WINDOWS)
OF_TEACHERS = (PLAIN, Version(window=0.5))
"""Of teacher forms, whose members weigh all alike: one window more forecasts no better (analysis/LOG.md)."""


def all_alike(forms: Iterable[ScalingLaw]) -> bool:
    """Whether the members of a stack weigh the same: few bases of a teacher form, each in few versions."""
    return any(isinstance(form, TeacherLaw) for form in forms)


def level_prior(law: ScalingLaw) -> Prior:
    """((alpha - .35)/.12)^2/2 + ((beta - .35)/.12)^2/2 + (log k/.3)^2/2, in units of the log likelihood."""
    expected = {"alpha": (EXPONENT, EXPONENT_SPREAD), "beta": (EXPONENT, EXPONENT_SPREAD), "k": (0.0, POWER_SPREAD)}
    known = [expected.get(name, (0.0, np.inf)) for name in law.names]
    return Prior(np.array([centre for centre, _ in known]), np.diag([spread**-2.0 for _, spread in known]))


def better_trained(loss: Array, group: Array, among: Array, share: float) -> Array:
    """Runs of `among` whose loss is within the lowest `share` of its group: bool[n_runs].

    Args:
        loss: float64[n_runs].
        group: int[n_runs], runs whose losses can be compared: those of one teacher.
        among: bool[n_runs].
        share: in (0, 1].
    """
    kept = among.copy()
    if share == 1:
        return kept
    for code in np.unique(group[among]):
        own = among & (group == code)
        kept[own] = loss[own] <= np.quantile(loss[own], share)
    return kept


def distinct(versions: Sequence[Version], data: Observations, enough: int) -> tuple[Version, ...]:
    """Those whose window leaves `enough` runs, and those that leave out none: the fit says whether all suffice."""
    every = np.ones(len(data), bool)
    kept = [int(better_trained(data.loss, data.teacher, every, version.window).sum()) for version in versions]
    return tuple(v for v, count in zip(versions, kept, strict=True) if count >= min(enough, len(data)))


def determined(versions: Sequence[Version], data: Observations) -> tuple[Version, ...]:
    """Those whose window leaves three levels of n and of d, where all runs have as many.

    The lowest losses are those of the largest students that read most: with two levels an exponent is anything. Members
    that are weighed by their errors need no such rule: there such a one hardly weighs.
    """
    every, axes = np.ones(len(data), bool), [data.columns[name] for name in ("n", "d") if name in data.columns]
    kept = [better_trained(data.loss, data.teacher, every, version.window) for version in versions]
    enough = [all(levels(x[own]) >= min(LEVELS_NEEDED, levels(x)) for x in axes) for own in kept]
    return tuple(version for version, is_enough in zip(versions, enough, strict=True) if is_enough)
