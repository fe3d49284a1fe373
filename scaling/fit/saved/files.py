"""A fit as strict JSON, and back."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import RecordError, SpecError
from scaling.files import machine_error, make_folder, write_bytes
from scaling.fit.doubt.scatter import Scatter, SizeTrend
from scaling.fit.evidence import Calibration, Member, Status, Suspect
from scaling.fit.neighbours import Runs
from scaling.fit.result import Fit, check_fit
from scaling.fit.saved.plain_schema import Damage
from scaling.fit.saved.schema import FIT, READABLE, SCHEMA_VERSION
from scaling.fit.solve.objective import Objective
from scaling.fit.stack.versions import Version
from scaling.formats.plain import plain
from scaling.laws.law import ScalingLaw
from scaling.laws.named import named_law
from scaling.tables.observations import MadeOf

Array = np.ndarray


def to_json(fit: Fit) -> str:
    """Strict JSON text: no NaN or infinity, null instead."""
    return json.dumps(to_plain(fit), allow_nan=False, indent=1)


def fit_id_of(text: str) -> str:
    """The name of a saved fit: a hash of its JSON text, by which a recommendation and a ledger row know it."""
    return hashlib.blake2b(text.strip().encode(), digest_size=5).hexdigest()


def save(fit: Fit, path: str | Path, *, replace: bool = False) -> None:
    """Write a fit, atomically; a fit that is there is replaced, and nothing else.

    >>> scaling.save_fit(fit, tmp_path / "fit.json")

    Args:
        fit: What is written.
        path: Where; folders above it are made.
        replace: Whatever file is there is replaced, as a damaged fit in a folder of the program's own.

    Raises:
        RecordError: something is there that is not a fit, as the table that was fitted.
        MachineError: if this machine cannot write it.
    """
    check_fit(fit)
    path = Path(path)
    if not replace and path.is_file() and not _is_a_fit(path):
        raise RecordError(f"{path}: is there and not a fit; nothing was changed — name another file, or move it away")
    make_folder(path.parent)
    write_bytes(path, (to_json(fit) + "\n").encode())


def load(path: str | Path | Mapping[str, Any]) -> Fit:
    """Read a saved fit; what it forecasts is what the fit that was saved did.

    >>> save(fit, tmp_path / "fit.json")
    >>> scaling.load_fit(tmp_path).law.name
    'q1q2'

    Args:
        path: A file, a folder that holds one as fit.json, or the JSON of a fit itself, as text or as values.

    Raises:
        RecordError: missing, changed since it was written, damaged, or written by another schema version.
    """
    path, content = _read(path)
    if not (isinstance(content, dict) and "schema_version" in content):
        raise RecordError(f"{path} is not a fit (no schema_version): name what `scaling fit` wrote, or fit again")
    version = content["schema_version"]
    if version not in READABLE:
        raise RecordError(
            f"{path} has schema version {str(version)[:20]}, this program reads {' and '.join(map(str, READABLE))}: "
            "fit again from the runs table"
        )
    try:
        return from_plain(content)
    except Exception as error:
        if machine := machine_error(error):
            raise machine from error
        # The one boundary: whatever a foreign value makes the laws raise, the file is at fault.
        raise RecordError(
            f"{path} is damaged, or needs a package that is not installed ({_first_line(error)}): fit again from the "
            "runs table"
        ) from error


def _read(source: str | Path | Mapping[str, Any]) -> tuple[Path, Any]:
    """The JSON values of a file or text, and what to call it in an error."""
    if isinstance(source, Mapping):
        return Path("this mapping"), dict(source)
    # A path never opens with a brace, and the text of a fit always does.
    text = source if isinstance(source, str) and source.lstrip().startswith("{") else None
    path = Path("this text" if text else source)
    path = path if text else fit_at(path)
    try:
        return path, json.loads(text or path.read_text("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not a fit ({error}): fit again from the runs table") from error


def fit_at(path: str | os.PathLike[str]) -> Path:
    """The file of a saved fit: as it was named, or fit.json of the folder that was.

    Raises:
        RecordError: there is none, or it is a sweep file; names the fits in the folders below.
    """
    found = Path(path)
    if found.suffix in (".yaml", ".yml"):
        raise RecordError(
            f"{found}: is a sweep file, allowed is a fit — name that of its runs, as results/{found.stem}/fit.json; "
            f"`scaling fit {found}` writes it"
        )
    file = found / "fit.json" if found.is_dir() else found
    if file.is_file():
        return file
    if below := sorted(map(str, found.glob("*/fit.json"))):
        raise RecordError(
            f"{found}: holds no fit itself, but the folders below do — name one of {', '.join(below)}; "
            "`scaling recommend` takes several, each of a vocabulary of its own: --fit ONE --fit OTHER"
        )
    raise RecordError(f"no fit at {file}: make one with `scaling fit SWEEP.yaml`, or `scaling fit TABLE --out {file}`")


def _is_a_fit(path: Path) -> bool:
    """Whether a file is a fit of any version, whole or not: it opens like one, or it is empty."""
    with path.open("rb") as file:
        opening = file.read(200)
    return not opening.strip() or (b'"schema_version"' in opening and b'"members"' in opening)


def digest(content: Mapping[str, Any]) -> str:
    """Hash of all that a saved fit says, blank space and the order of names apart."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _first_line(error: Exception) -> str:
    kind = "" if isinstance(error, Damage | SpecError) else f"{type(error).__name__}: "
    return kind + (str(error).splitlines() or [""])[0][:300]


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
            # Seven digits are far below the doubt of a draw, and half of the file.
            "samples": [[float(f"{v:.7g}") for v in row] for row in m.samples.tolist()],
        }
        for m in fit.members
    ]
    content = {
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
        "made_of": _plain_made_of(fit.made_of),
        "suspects": [asdict(suspect) | {"rows": list(suspect.rows)} for suspect in fit.suspects],
        "scatter": None if fit.scatter is None else asdict(fit.scatter),
        "without": {name: _number(value) for name, value in fit.without.items()},
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
            "trend": None if fit.calibration.trend is None else asdict(fit.calibration.trend),
            "inside": fit.calibration.inside,
            "unseen": fit.calibration.unseen,
        },
        "runs": None if fit.runs is None else _plain_runs(fit.runs),
        "covariance": _numbers(fit.covariance),
        "selection": [_finite(row) for row in fit.selection],
        "backtest": _finite(fit.backtest),
        "condition": _number(fit.condition),
        "profiles": {name: dict(curve) for name, curve in fit.profiles.items()},
    }
    return content | {"digest": digest(content)}


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in row.items()}


def _plain_runs(runs: Runs) -> dict[str, Any]:
    return {
        "columns": {name: [_number(v) for v in values] for name, values in runs.columns.items()},
        "loss": [_number(v) for v in runs.loss],
        "loss_se": None if runs.loss_se is None else [_number(v) for v in runs.loss_se],
        "off": runs.off.tolist(),
        "share": runs.share,
    }


def _plain_made_of(made: MadeOf) -> dict[str, Any]:
    """What is not known of the rows is not written, so that a fit of before is saved as it was."""
    return {name: value for name, value in asdict(made).items() if name == "where" or value not in ((), None)}


def _made_of(content: Mapping[str, Any]) -> MadeOf:
    return MadeOf(**{**content, "run_ids": tuple(content.get("run_ids", ()))})


def _runs(content: Mapping[str, Any]) -> Runs:
    columns = {name: np.array(values, float) for name, values in content["columns"].items()}
    loss_se = None if content["loss_se"] is None else np.array(content["loss_se"], float)
    return Runs(columns, np.array(content["loss"], float), np.array(content["off"], bool), loss_se, content["share"])


def _covariance_of(rows: list[list[float]] | None, law: ScalingLaw, samples: Array) -> Array | None:
    """As stored; fits of before it was stored have the bootstrap of every member instead."""
    if rows is not None:
        return np.array(rows, float)
    if len(samples) < 2:
        return None
    found = law.to_search(np.where(law.is_log, np.maximum(samples, 1e-300), samples))
    return np.cov(found.T).reshape(len(law.coefficients), -1)


def from_plain(content: Mapping[str, Any]) -> Fit:
    """A fit from its JSON values.

    Raises:
        Damage: a value that no fit has, or two that contradict each other.
        SpecError: a law or coefficient that does not exist.
    """
    FIT(content, "fit")
    # A digit changed by hand or by a bad disk is a number like any other: only the digest can tell.
    if "digest" not in content and content["schema_version"] > 1:
        raise Damage("it has no digest")
    if "digest" in content and content["digest"] != digest(content):
        raise Damage("it was changed after it was written: its digest does not match")
    members = tuple(_member(plain_member) for plain_member in content["members"])
    status = content["status"]
    calibration = content["calibration"]
    found = Fit(
        members=members,
        objective=Objective(**content["objective"]),
        columns=content["columns"],
        teachers=content["teachers"],
        texts=content.get("texts", {}),
        ranges={name: (low, high) for name, (low, high) in content["ranges"].items()},
        n_runs=content["n_runs"],
        n_clusters=content["n_clusters"],
        excluded=tuple(content["excluded"]),
        residuals=content["residuals"],
        status=Status(
            converged=status["converged"],
            interior=status["interior"],
            identified=status["identified"],
            reasons=tuple(status["reasons"]),
            notes=tuple(status["notes"]),
        ),
        calibration=Calibration(
            levels=tuple(calibration["levels"]),
            quantiles=tuple(calibration["quantiles"]),
            noise=calibration["noise"],
            factors=calibration.get("factors", {}),
            basis=calibration["basis"],
            n_scores=calibration["n_scores"],
            trend=SizeTrend(**calibration["trend"]) if calibration.get("trend") else None,
            inside=calibration.get("inside"),
            unseen=calibration.get("unseen", 0.0),
        ),
        runs=_runs(content["runs"]) if content.get("runs") else None,
        covariance=np.array(content["covariance"], dtype=float),
        selection=tuple(content["selection"]),
        backtest=content["backtest"],
        condition=math.inf if content["condition"] is None else content["condition"],
        profiles=content["profiles"],
        made_of=_made_of(content.get("made_of", {})),
        suspects=tuple(Suspect(tuple(s["rows"]), s["shift"], s["text"]) for s in content.get("suspects", ())),
        without=content.get("without", {}),
        scatter=Scatter(**content["scatter"]) if content.get("scatter") else None,
    )
    _consistent(found, success=status["success"])
    return found


def _member(content: Mapping[str, Any]) -> Member:
    """One law with its numbers and replicates."""
    law = named_law(content["law"], **content["structure"]).with_values(content["coefficients"])
    if law.values is None:
        raise Damage(f"the law {law.name!r} has no numbers, allowed are {', '.join(law.names)}")
    samples = np.array(content["samples"] or np.empty((0, len(law.names))), float)
    if samples.shape[1] != len(law.names):
        raise Damage(f"replicates of {law.name!r} have {samples.shape[1]} numbers, allowed are {len(law.names)}")
    return Member(
        law=law,
        weight=content["weight"],
        value=math.nan if content["objective"] is None else content["objective"],
        tried=content["tried"],
        reached=content["reached"],
        samples=samples,
        at_bound=tuple(content["at_bound"]),
        version=Version(content.get("prior", "none"), content.get("window", 1.0)),
        covariance=_covariance_of(content.get("covariance"), law, samples),
    )


def _equally_long(runs: Runs) -> bool:
    of_loss = () if runs.loss_se is None else (runs.loss_se,)
    return {len(values) for values in (*runs.columns.values(), runs.off, *of_loss)} == {len(runs.loss)}


def _consistent(fit: Fit, *, success: bool) -> None:
    """What a single value cannot show."""
    levels, quantiles = np.array(fit.calibration.levels), np.array(fit.calibration.quantiles)
    k = len(fit.law.names)
    wrong = {
        "weights do not sum to one": abs(sum(member.weight for member in fit.members) - 1) > 1e-6,
        "success contradicts converged, interior and identified": success != fit.success,
        "levels and quantiles differ in number": levels.shape != quantiles.shape,
        "levels do not increase": bool((np.diff(levels) <= 0).any()),
        "quantiles fall": bool((np.diff(quantiles) < 0).any()),
        "a range ends before it begins": any(not 0 < low <= high for low, high in fit.ranges.values()),
        "more trunks than runs": fit.n_clusters > fit.n_runs,
        f"the covariance is not {k} by {k}": fit.covariance.shape != (k, k),
        "a member's covariance has not its law's size": any(
            m.covariance is not None and m.covariance.shape != (len(m.law.names),) * 2 for m in fit.members
        ),
        "the law without suspects has other coefficients": bool(fit.without) and {*fit.without} != {*fit.law.names},
        "the runs differ in number": fit.runs is not None and not _equally_long(fit.runs),
        "the runs lack a column of a law": fit.runs is not None
        and any(not {"n", "d", "teacher", *m.law.columns} <= {*fit.runs.columns} for m in fit.members),
        "a run has no size, volume or loss": fit.runs is not None
        and any(np.any(values <= 0) for values in (fit.runs.loss, *(fit.runs.columns.get(k, 1.0) for k in ("n", "d")))),
        "a bound is of no coefficient": any(not {*m.at_bound} <= {*m.law.names} for m in fit.members),
    }
    if fit.without:
        fit.law.with_values(fit.without)  # raises where a coefficient is outside its bounds
    if faults := [fault for fault, found in wrong.items() if found]:
        raise Damage("; ".join(faults))
