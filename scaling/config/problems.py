"""From pydantic's errors to sentences for a person: what is wrong, what was got, what is allowed, what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from scaling.registry import did_you_mean
from scaling.spec import KindSpec

MISSING = "missing — a value is needed here"
UNKNOWN = "unknown key"

_WHOLE = {"int_type", "int_parsing", "int_from_float", "int_parsing_size"}
_REAL = {"float_type", "float_parsing", "finite_number"}
_CONTAINERS = {
    **dict.fromkeys(["dict_type", "model_type", "model_attributes_type"], "a mapping"),
    "list_type": "a list",
}


def sentence(error: ErrorDetails, model: type[BaseModel], root: Any) -> str:
    """One pydantic error as ``key: what — got, allowed, meant``.

    Args:
        error: One item of ``ValidationError.errors()``.
        model: The model that was validated.
        root: The value that was validated; tells union tags in the error's location from keys.
    """
    path = value_path(error["loc"], root)
    key = dotted(path)
    what = _what(error, model, path, root)
    return f"{key}: {what}" if key else what


def value_path(loc: tuple[str | int, ...], root: Any) -> tuple[str | int, ...]:
    """An error's location without the tags that pydantic inserts where a union was resolved."""
    path: list[str | int] = []
    value = root
    for step in loc:
        if isinstance(value, dict):
            if step not in value and step in (value.get("kind"), value.get("rule")):
                continue
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif value is not None or not isinstance(step, str):
            continue
        path.append(step)
    return tuple(path)


def told_path(error: ErrorDetails, root: Any) -> tuple[str | int, ...]:
    """Where an error lies: what is checked of a whole run opens its sentence with the key, ``optim.cooldown: …``."""
    path = value_path(error["loc"], root)
    told = re.match(r"([a-z][a-z0-9_.]*): ", str(error.get("ctx", {}).get("error", "")))
    return path if told is None else (*path, *told[1].split("."))


def dotted(path: Iterable[str | int]) -> str:
    """``data.teacher.rate``, ``widths[1]``."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{_legible(step)}" for step in path]
    text = "".join(steps).removeprefix(".")
    return text if text or not steps else "''"


def _legible(key: str) -> str:
    return key if key.isprintable() else repr(key)


def field_names(model: Any, path: tuple[str | int, ...], root: Any) -> list[str]:
    """The keys that may stand at a path inside a model, for the value that stands there."""
    for step in path:
        model = _inside(model, step, root)
        is_there = isinstance(root, dict) and step in root or isinstance(root, list) and isinstance(step, int)
        root = root[step] if is_there else None
    fields = getattr(_member(model, root), "model_fields", {})
    return [field.alias or name for name, field in fields.items() if name != "schema_version"]


def _inside(annotation: Any, step: str | int, value: Any) -> Any:
    """The annotation of what stands at one step inside something annotated."""
    if get_origin(annotation) is Annotated:
        return _inside(get_args(annotation)[0], step, value)
    if get_origin(annotation) in (dict, list):
        return get_args(annotation)[-1]
    fields = getattr(_member(annotation, value), "model_fields", {})
    return next((f.annotation for name, f in fields.items() if step == (f.alias or name)), None)


def _member(annotation: Any, value: Any) -> Any:
    """The model that an annotation means for a value: a union is resolved by the value's kind or rule."""
    if get_origin(annotation) is Annotated:
        return _member(get_args(annotation)[0], value)
    if isinstance(annotation, type) and issubclass(annotation, KindSpec):
        members = list(annotation.members())
    elif isinstance(annotation, type) or annotation is None:
        return annotation
    else:
        members = [_member(arg, value) for arg in get_args(annotation)]
    models = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
    tag = (value.get("kind") or value.get("rule")) if isinstance(value, dict) else None
    tagged = [m for m in models if tag in _tags(m)]
    certain = tagged or (models if len(models) == 1 else [])
    return certain[0] if certain else None


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("kind") or model.model_fields.get("rule")
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()


def _what(error: ErrorDetails, model: type[BaseModel], path: tuple[str | int, ...], root: Any) -> str:
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    # What pydantic says is kept where a person needs no more.
    if kind == "extra_forbidden":
        return f"{UNKNOWN}{did_you_mean(path[-1], field_names(model, path[:-1], root))}"
    if kind == "missing":
        return MISSING
    if kind in ("literal_error", "enum"):
        return f"got {short(got)}{did_you_mean(got, _quoted(context['expected']))}"
    if kind == "union_tag_invalid":
        return f"got {context['discriminator'].strip(chr(39))}: {short(context['tag'])}" + did_you_mean(
            context["tag"], _quoted(context["expected_tags"])
        )
    if kind == "union_tag_not_found":
        return f"got {short(got)} — a mapping with the key {context['discriminator']} is needed"
    if kind in _WHOLE:
        return f"got {short(got)} — a whole number is needed, such as 64, 1e5 or 10M"
    if kind in _REAL:
        return f"got {short(got)} — a finite number is needed, such as 0.5 or 3e-4"
    if kind in _CONTAINERS:
        return f"got {short(got)} — {_CONTAINERS[kind]} is needed"
    if kind == "multiple_of":
        step = context["multiple_of"]
        return f"should be a multiple of {step:g} — got {short(got)}{_nearest(got, step)}"
    if kind == "value_error":
        return str(context["error"])
    return f"{_lower(error['msg'])} — got {short(got)}"


def _nearest(value: Any, step: float) -> str:
    """The multiples on both sides of a whole number, the least of them first; none of them is 0."""
    if type(value) is not int or value < 1:
        return ""
    below = value // int(step) * int(step)
    near = [f"{one}" for one in (below, below + int(step)) if one]
    return f"; the nearest {'is' if len(near) == 1 else 'are'} {' and '.join(near)}"


def short(value: Any) -> str:
    """A value as it may stand in a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _lower(text: str) -> str:
    return text.removeprefix("Value error, ").removeprefix("Input ")
