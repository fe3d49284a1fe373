"""Results of a notebook as files: any of them is written as strict JSON, and comes back as what it was."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from scaling.curves.law import CURVES, CurveLaw
from scaling.errors import RecordError, SpecError
from scaling.files import machine_error, make_folder, read_json, write_bytes
from scaling.fit.result import Fit
from scaling.fit.saved.files import from_plain as fit_from_plain
from scaling.fit.saved.files import load as load_fit
from scaling.formats.plain import plain
from scaling.predict.recommend.recommendation import Recommendation

ROOMS = ("scaling.fit.", "scaling.curves.", "scaling.predict.")
"""Where results are defined; a file that names another place is none of ours."""


def save(result: Any, path: str | Path) -> None:
    """Write a result, atomically.

    >>> save(scaling.trends(teacher_loss=2.0), tmp_path / "trends.json")

    Args:
        result: What a function of `scaling` returned.
        path: Where; folders above it are made, and a result that is there is replaced.

    Raises:
        SpecError: it is no result, as a table, which pandas writes.
        RecordError: something else than a result is there.
    """
    path, kind = Path(path), type(result)
    # Other dataclasses may hold what JSON does not say.
    if not dataclasses.is_dataclass(kind) or not f"{kind.__module__}.".startswith(ROOMS):
        raise SpecError(
            f"save: got a {kind.__name__}, allowed is a result of scaling; pandas writes tables, as .to_csv"
        )
    if path.is_file() and not _is_kept(path):
        raise RecordError(
            f"{path}: is there and not a result; nothing was changed — name another file, or move it away"
        )
    content = {"result": f"{kind.__module__}:{kind.__qualname__}", "values": plain(result)}
    make_folder(path.parent)
    write_bytes(path, (json.dumps(content, allow_nan=False, indent=1) + "\n").encode())


def load(path: str | Path) -> Any:
    """Read what `scaling.save` wrote; also a fit.json or a recommendation.json.

    >>> scaling.save(scaling.solve("hoffmann", target_loss=2.2), tmp_path / "answer.json")
    >>> load(tmp_path / "answer.json").law
    'hoffmann'

    Raises:
        RecordError: the file is absent, damaged, or no result.
    """
    path = Path(path)
    content = read_json(path)
    # What the commands leave in a sweep's folder is read as well.
    if isinstance(content, dict) and "result" not in content:
        own = {"schema_version": load_fit, "runners_up": Recommendation.from_json}
        for name in own.keys() & content.keys():
            return own[name](path)
    try:
        return _read(_kind(content["result"]), content["values"])
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, SpecError) as error:
        if machine := machine_error(error):
            raise machine from error
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path}: not a result of this version ({said}) — compute it again") from error


def _is_kept(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"result"' in file.read(200)


def _kind(name: str) -> type:
    """The class of a result; nothing outside of this program is loaded because a file says so."""
    module, _, kind = name.partition(":")
    if not module.startswith(ROOMS):
        raise ValueError(f"unknown result {name!r}")
    return getattr(import_module(module), kind)


def _read(kind: Any, value: Any) -> Any:
    """A value of a type, from the JSON values that `plain` makes of it."""
    if kind in _OWN:
        return _OWN[kind](value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _read(hints[name], one) for name, one in value.items()})
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _read(next(part for part in parts if part is not NoneType), value)
    if origin is tuple:
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return tuple(_read(one, item) for one, item in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: _read(parts[1], item) for name, item in value.items()}
    return value


def _number(value: Any) -> float:
    """null stands for what is not a number, words for infinity."""
    return float("nan" if value is None else value)


def _any(value: Any) -> Any:
    """A number, numbers in an array, or what stands there."""
    if isinstance(value, list):
        return np.array([_any(one) for one in value])
    return _number(value) if value in (None, "inf", "-inf") else value


def _law(value: Mapping[str, Any]) -> CurveLaw:
    return CURVES[value["form"]]().with_values({name: _number(one) for name, one in value["values"].items()})


_OWN: dict[Any, Callable[[Any], Any]] = {
    Any: _any,
    CurveLaw: _law,
    Fit: fit_from_plain,
    Recommendation: Recommendation.from_values,
    float: _number,
    np.ndarray: lambda value: np.array(_any(value), float),
}
"""Types that are not read field by field."""
