"""The dotted paths into a run that a sweep file may name."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel

from scaling.spec import KindSpec, RunSpec


def run_paths(model: type[BaseModel] = RunSpec, prefix: str = "", above: tuple[type[BaseModel], ...] = ()) -> list[str]:
    """Every dotted path that may be an axis of a sweep; those of a teacher's run and of a start are left out."""
    paths = []
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        if path != "schema_version":
            paths.append(path)
        for member in _models(field.annotation):
            if member not in (*above, model):
                paths += [p for p in run_paths(member, f"{path}.", (*above, model)) if p not in paths]
    return paths


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, KindSpec):
        return list(annotation.members())
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    inner = get_args(annotation) if get_origin(annotation) is not None else ()
    return [model for arg in inner for model in _models(arg)]
