"""A fit as strict JSON, and back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import RecordError
from scaling.files import write_bytes
from scaling.fit.evidence import Calibration, Member, Status
from scaling.fit.result import Fit
from scaling.fit.solve.objective import Objective
from scaling.fit.stack.versions import Version
from scaling.formats.plain import plain
from scaling.laws.law import ScalingLaw
from scaling.laws.named import named_law

Array = np.ndarray
SCHEMA_VERSION = 1


def to_json(fit: Fit) -> str:
    """Strict JSON text: no NaN or infinity, null instead."""
    return json.dumps(to_plain(fit), allow_nan=False, indent=1)


def fit_id_of(text: str) -> str:
    """The name of a saved fit: a hash of its JSON text, by which a recommendation and a ledger row know it."""
    return hashlib.blake2b(text.strip().encode(), digest_size=5).hexdigest()


def save(fit: Fit, path: str | Path) -> None:
    """Write a fit, atomically."""
    write_bytes(Path(path), (to_json(fit) + "\n").encode())


def load(path: str | Path) -> Fit:
    """Read a saved fit.

    Raises:
        RecordError: missing, damaged, or written by another schema version.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise RecordError(f"no fit at {path}: make one with `scaling fit`") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is not a fit: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}: fit again from the runs table"
        )
    try:
        return _from_plain(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"{path} is damaged ({type(error).__name__}: {error}): fit again from the runs table"
        ) from error


def _number(value: float) -> float | None:
    """Twelve significant digits; null for what JSON cannot say."""
    return float(f"{value:.12g}") if math.isfinite(value) else None


def _numbers(matrix: Array) -> list[list[float | None]]:
    return [[_number(v) for v in row] for row in matrix.tolist()]


@plain.register
def to_plain(fit: Fit) -> dict[str, Any]:
    """JSON values of a fit."""
    members = [
        {
            "law": m.law.name,
            "structure": m.law.structure(),
            "formula": repr(m.law),
            "coefficients": m.law.values,
            "weight": m.weight,
            "objective": _number(m.value),
            "tried": m.tried,
            "reached": m.reached,
            "at_bound": list(m.at_bound),
            "prior": m.version.prior,
            "window": m.version.window,
            "covariance": None if m.covariance is None else _numbers(m.covariance),
            "samples": [[float(f"{v:.7g}") for v in row] for row in m.samples.tolist()],
        }
        for m in fit.members
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "members": members,
        "objective": {"kind": fit.objective.kind, "delta": fit.objective.delta, "log": fit.objective.log},
        "columns": dict(fit.columns),
        "teachers": {label: {k: _number(v) for k, v in facts.items()} for label, facts in fit.teachers.items()},
        "texts": dict(fit.texts),
        "ranges": {name: list(ends) for name, ends in fit.ranges.items()},
        "n_runs": fit.n_runs,
        "n_clusters": fit.n_clusters,
        "excluded": [dict(row) for row in fit.excluded],
        "residuals": {row: _number(value) for row, value in fit.residuals.items()},
        "status": {
            "success": fit.success,
            "converged": fit.status.converged,
            "interior": fit.status.interior,
            "identified": fit.status.identified,
            "reasons": list(fit.status.reasons),
            "notes": list(fit.status.notes),
        },
        "calibration": {
            "levels": list(fit.calibration.levels),
            "quantiles": [_number(q) for q in fit.calibration.quantiles],
            "noise": fit.calibration.noise,
            "factors": dict(fit.calibration.factors),
            "basis": fit.calibration.basis,
            "n_scores": fit.calibration.n_scores,
        },
        "covariance": _numbers(fit.covariance),
        "selection": [_finite(row) for row in fit.selection],
        "backtest": _finite(fit.backtest),
        "condition": _number(fit.condition),
        "profiles": {name: dict(curve) for name, curve in fit.profiles.items()},
    }


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in row.items()}


def _covariance_of(rows: list[list[float]] | None, law: ScalingLaw, samples: Array) -> Array | None:
    """As stored; fits of before it was stored have the bootstrap of every member instead."""
    if rows is not None:
        return np.array(rows, float)
    if len(samples) < 2:
        return None
    log = np.array([c.log for c in law.coefficients])
    with np.errstate(divide="ignore"):
        return np.cov(np.where(log, np.log(np.maximum(samples, 1e-300)), samples).T).reshape(len(log), -1)


def _from_plain(content: Mapping[str, Any]) -> Fit:
    """A fit from its JSON values."""
    members = []
    for m in content["members"]:
        law = named_law(m["law"], **m["structure"]).with_values(m["coefficients"])
        samples = np.array(m["samples"], float).reshape(-1, len(law.names))
        value = math.nan if m["objective"] is None else m["objective"]
        members.append(
            Member(
                law=law,
                weight=m["weight"],
                value=value,
                tried=m["tried"],
                reached=m["reached"],
                samples=samples,
                at_bound=tuple(m["at_bound"]),
                version=Version(m.get("prior", "none"), m.get("window", 1.0)),
                covariance=_covariance_of(m.get("covariance"), law, samples),
            )
        )
    status = {key: value for key, value in content["status"].items() if key != "success"}
    calibration = dict(content["calibration"])
    levels, quantiles = tuple(calibration.pop("levels")), tuple(calibration.pop("quantiles"))
    return Fit(
        members=tuple(members),
        objective=Objective(**content["objective"]),
        columns=content["columns"],
        teachers=content["teachers"],
        texts=content.get("texts", {}),
        ranges={name: tuple(ends) for name, ends in content["ranges"].items()},
        n_runs=content["n_runs"],
        n_clusters=content["n_clusters"],
        excluded=tuple(content["excluded"]),
        residuals=content["residuals"],
        status=Status(**(status | {"reasons": tuple(status["reasons"]), "notes": tuple(status["notes"])})),
        calibration=Calibration(levels, quantiles, **calibration),
        covariance=np.array(content["covariance"], dtype=float),
        selection=tuple(content["selection"]),
        backtest=content["backtest"],
        condition=math.inf if content["condition"] is None else content["condition"],
        profiles=content["profiles"],
    )
