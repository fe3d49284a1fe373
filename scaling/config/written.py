"""Runs as a sweep file that trains exactly these: what they share under ``base``, the rest of each under ``list``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scaling.spec import RunSpec


def sweep_of(runs: Sequence[RunSpec], name: str, *, sections: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The values of a sweep file that expands to some runs, with the ids that they have.

    Args:
        runs: To be trained.
        name: Of the sweep.
        sections: Further sections, as ``fit`` and ``recommend``.
    """
    every = [_leaves(run.model_dump(mode="json")) for run in runs]
    shared = {
        path: value for path, value in every[0].items() if all(path in one and one[path] == value for one in every)
    }
    listed = [{path: value for path, value in one.items() if path not in shared} for one in every]
    return {"name": name, "base": _nested(shared), "list": listed, **(sections or {})}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted path; what holds ``kind`` or is no section stays whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and "kind" not in value:
            flat |= _leaves(value, f"{path}.")
        else:
            flat[path] = value
    return flat


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *sections, last = path.split(".")
        here = tree
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value
    return tree
