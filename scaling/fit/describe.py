"""How a fit is reported: text, LaTeX."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scaling.fit.page import latex_row
from scaling.fit.result import Fit, check_fit
from scaling.fit.stack.versions import EXPONENT, Version
from scaling.laws.named import named_law
from scaling.tables.finished import listed
from scaling.tables.units import SIZE_COLUMNS


def summary(fit: Fit, level: float = 0.9) -> str:
    """Plain-text report of a fit.

    >>> summary(fit).splitlines()[0][:24]
    'floor and effective data'
    """
    check_fit(fit)
    lines = [repr(fit.law), f"  {made_of(fit)}; trunks {fit.n_clusters}, {_columns(fit)}"]
    lines.append(
        f"  {fit.objective.kind} objective {fit.leading.value:.8g}{_delta(fit)}; {fit.starts[1]} of "
        f"{fit.starts[0]} starts reached it"
    )
    intervals, width = fit.interval(level), max(12, *map(len, fit.law.names))
    for c in fit.law.coefficients:
        low, high = intervals[c.name]
        doubt = f"  {level:.0%} [{low:.4g}, {high:.4g}]" if math.isfinite(low) else ""
        lines.append(f"  {c.name:<{width}} {fit.params[c.name]:<12.6g}{doubt} {fit.unit_of(c)}".rstrip())
    lines += [f"  profile: {curve['text']}" for curve in fit.profiles.values()]
    # The coefficients above are of the leading law; what forecasts is the average.
    if len(fit.members) > 1:
        lines += _average(fit)
    if len(tied := _tied(fit)) > 1:
        lines.append("  tied within 4 AICc: " + "; ".join(map(_in_words, tied)))
    lines.append(
        f"  {fit.scatter or f'scatter of one run {fit.calibration.noise:.2%}'}; intervals from {fit.calibration.basis} "
        f"errors ({fit.calibration.n_scores} forecasts)"
    )
    if trend := fit.calibration.trend:
        low, high = (float(fit.calibration.noise_at(n)) for n in (trend.least, trend.most))
        lines.append(
            f"  seeds scatter as N^{trend.slope:.2f}: one run by {low:.2%} at {trend.least:.3g} and {high:.2%} at "
            f"{trend.most:.3g}; runs are weighted accordingly"
        )
    if fit.calibration.unseen:
        lines.append(f"  a text without runs lies off the law by {fit.calibration.unseen:.2%} more (texts left out)")
    if fit.backtest:
        lines.append(
            f"  backtest: mean error {fit.backtest['mare']:.2%}, {fit.backtest['coverage']:.0%} "
            f"inside, {fit.backtest['n_test']} held-out runs"
        )
    lines += [f"  excluded row {row['row']}: {row['reason']}" for row in fit.excluded]
    lines += [f"  suspect: {suspect.text}" for suspect in fit.suspects]
    lines += [f"  {line}" for line in _beside(fit, level)]
    lines += [f"  note: {note}" for note in fit.status.notes]
    lines.append("  usable" if fit.success else f"  NOT USABLE: {' '.join(fit.status.reasons)}")
    return "\n".join(lines)


def made_of(fit: Fit) -> str:
    """What a fit was made of: rows used of how many, and what was left out, with the reason."""
    source = fit.made_of
    parts = [f"{fit.n_runs} of {max(source.n_rows, fit.n_runs)} rows"]
    if source.where is not None:
        parts.append(f"where {source.where!r} left out {source.n_filtered}")
    parts += [f"{count} left out: {reason}" for reason, count in left_out_by_reason(fit.excluded).items()]
    return "; ".join(parts)


def left_out_by_reason(excluded: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How many rows were left out for each reason, without what is said of single rows."""
    return Counter(re.sub(r" (of|for|\().*", "", str(row["reason"]).partition(":")[0]) for row in excluded)


def forecast_without_suspects(fit: Fit, n: float, d: float, *, level: float = 0.9, **columns: Any) -> str:
    """A sentence on the forecast without the fit's suspects, where it differs by more than half of the interval; empty
    elsewhere."""
    if not fit.without:
        return ""
    whole, less = (
        fit.predict(n, d, level=level, given="law", force=True, **columns),
        fit.loss_without_suspects(n, d, **columns),
    )
    if abs(less - whole.value) <= (whole.high - whole.low) / 2:
        return ""
    rows = listed(dict.fromkeys(row for suspect in fit.suspects for row in suspect.rows))
    return (
        f"the forecast at N = {n:.3g}, D = {d:.3g} is {whole.value:.4f} [{whole.low:.4f}, {whole.high:.4f}] with, and "
        f"{less:.4f} without rows {rows}, which lie off the law of the others"
    )


def _beside(fit: Fit, level: float) -> list[str]:
    """Forecasts with and without suspects, at the largest run and at four times it."""
    if not {"n", "d"} <= set(fit.ranges) or set(fit.law.columns) > {"n", "d"}:
        return []
    n, d = (fit.ranges[axis][1] for axis in ("n", "d"))
    told = (forecast_without_suspects(fit, scale * n, scale * d, level=level) for scale in (1, 4))
    return [sentence for sentence in told if sentence]


def to_latex(fit: Fit) -> str:
    """One row of a LaTeX table: law, then value with interval for each coefficient.

    >>> to_latex(fit).split(" & ")[0]
    'q1q2'
    """
    check_fit(fit)
    return latex_row(fit.law.label, fit.params, fit.interval())


def _columns(fit: Fit) -> str:
    """Columns by the law's name of them; the convention of model size in words, for the law holds in it only."""
    words = {name: f" ({SIZE_COLUMNS[column]})" for name, column in fit.columns.items() if column in SIZE_COLUMNS}
    return ", ".join(f"{name} = {column}{words.get(name, '')}" for name, column in fit.columns.items())


def _delta(fit: Fit) -> str:
    return (
        f" (delta {fit.objective.delta:g} on {'log ' if fit.objective.log else ''}loss)"
        if fit.objective.kind == "huber"
        else ""
    )


def _in_words(label: str) -> str:
    """A form as a person calls it, and by the name that `--law` takes."""
    return f"{named_law(label).heading} ({label})"


def _average(fit: Fit) -> list[str]:
    """Weight of each form, and, where forms were fitted in several versions, of each kind of version."""
    forms = _shares([(_in_words(m.law.label), m.weight) for m in fit.members])
    versions = [(_version(m.version), m.weight) for m in fit.members]
    if len({version for version, _ in versions}) == 1:
        return [f"  average of {forms}", *_floors(fit)]
    return [
        f"  average of {len(fit.members)} fits: {forms}",
        f"  fitted {_shares(versions)}; the coefficients above are of the first ({_version(fit.leading.version)})",
        *_floors(fit),
    ]


def _floors(fit: Fit) -> list[str]:
    """How far the averaged laws agree on E, and what the forecasts end at: no E of one law."""
    if not fit.knows_real_text or not all("E" in member.law.names for member in fit.members):
        return []
    floors = [member.law.values["E"] for member in fit.members if member.law.values]
    end = fit.floor().value
    return [f"  E of each from {min(floors):.4g} to {max(floors):.4g}; forecasts of real text end at {end:.4g}"]


def _version(version: Version) -> str:
    runs = "to all runs" if version.window == 1 else f"to the {version.window:.0%} of lowest loss"
    return runs if version.prior == "none" else f"{runs} with exponents expected near {EXPONENT}"


def _shares(weighted: list[tuple[str, float]]) -> str:
    """Sum of the weights by name, largest first, as far as two digits show it."""
    total = {name: sum(weight for other, weight in weighted if other == name) for name, _ in weighted}
    return "; ".join(
        f"{weight:.2f} {name}" for name, weight in sorted(total.items(), key=lambda item: -item[1]) if weight >= 0.005
    )


def _tied(fit: Fit) -> list[str]:
    return [str(row["law"]) for row in fit.selection if row["delta_aicc"] is not None and row["delta_aicc"] < 4]
