"""Names of texts for people, longer where two different texts would otherwise be shown as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scaling.spec.data import DataSpec


@dataclass(frozen=True)
class TextLabel:
    """What a row of a table calls a text."""

    source: str
    teacher: str


def text_labels(texts: Iterable[DataSpec]) -> dict[str, TextLabel]:
    """A label for each text of a sweep or table, by ``text_id``; no two texts have the same one.

    Where ``label`` alone would not tell two sources, or two teachers of one source, apart, what they differ in follows
    in brackets: ``sampled 12 (targets.exponent 0.5)``.
    """
    every = {text.text_id: text for text in texts}
    source_of = {text_id: _flat(text.source.model_dump(mode="json")) for text_id, text in every.items()}
    sources = _distinct({text_id: (text.source.label, source_of[text_id]) for text_id, text in every.items()})
    # A row shows the source beside the teacher, so teachers are told apart among those of one source only.
    of_source: dict[str, dict[str, tuple[str, dict[str, Any]]]] = defaultdict(dict)
    for text_id, text in every.items():
        asked = _flat(text.model_dump(mode="json", include={"teacher", "targets"}))
        of_source[sources[text_id]][text_id] = (text.label, asked)
    teachers = {text_id: label for texts in of_source.values() for text_id, label in _distinct(texts).items()}
    return {text_id: TextLabel(sources[text_id], teachers[text_id]) for text_id in every}


def _distinct(described: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """Labels by key; those of different things differ."""
    alike = defaultdict(list)
    for key, (label, _) in described.items():
        alike[label].append(key)
    out = {}
    for label, keys in alike.items():
        facts = [described[key][1] for key in keys]
        names = sorted({name for one in facts for name in one if any(one[name] != other.get(name) for other in facts)})
        for key, one in zip(keys, facts, strict=True):
            told = ", ".join(f"{name} {one[name]}" for name in names if name in one)
            out[key] = f"{label} ({told})" if told else label
    return out


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested values by their dotted paths."""
    if not isinstance(value, dict):
        return {path: value}
    return {key: one for name, inner in value.items() for key, one in _flat(inner, f"{path}.{name}".strip(".")).items()}
