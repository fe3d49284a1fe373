"""Leaving out heads, neurons and layers: what is left is a smaller student of the same architecture.

Every layer keeps as many heads and neurons as every other, so that an engine reads the result as any other student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import ValidationError

from scaling.dimensions import GGUF_BLOCK
from scaling.errors import SpecError
from scaling.spec import ModelSpec
from scaling.train.student.model import Student, from_tensors, to_tensors

BY_ROWS = {"heads": ("attn_q",), "groups": ("attn_k", "attn_v"), "neurons": ("ffn_gate", "ffn_up")}
BY_COLUMNS = {"heads": ("attn_output",), "groups": (), "neurons": ("ffn_down",)}
"""Matrices [out, in] that have rows or columns for what is left out."""


def keep_heads(student: Student, importance: np.ndarray, n_kv_heads: int) -> Student:
    """The student with the most important heads of each layer; heads that share keys and values stay or go together.

    Args:
        student: As trained.
        importance: float[L, H].
        n_kv_heads: Key–value heads to keep.

    Raises:
        SpecError: no student can have so many, or all would stay.
    """
    model, k = student.model, student.model.head_width
    _refuse_whole("heads", n_kv_heads, model.n_kv_heads)
    shared = model.n_heads // model.n_kv_heads
    groups = _most_important(importance.reshape(model.n_layers, -1, shared).sum(-1), n_kv_heads)
    heads = [np.concatenate([np.arange(g * shared, (g + 1) * shared) for g in kept]) for kept in groups]
    smaller = _resized(model, f"heads={n_kv_heads}", n_heads=n_kv_heads * shared, n_kv_heads=n_kv_heads)
    tensors = _cut(to_tensors(student), "heads", [_spread(kept, k) for kept in heads])
    return from_tensors(smaller, _cut(tensors, "groups", [_spread(kept, k) for kept in groups]))


def keep_neurons(student: Student, importance: np.ndarray, hidden: int) -> Student:
    """The student with the most important neurons of each layer.

    Args:
        student: As trained.
        importance: float[L, F].
        hidden: Neurons to keep, a multiple of 32.

    Raises:
        SpecError: no student can have so many, or all would stay.
    """
    _refuse_whole("neurons", hidden, student.model.hidden, step=GGUF_BLOCK)
    smaller = _resized(student.model, f"neurons={hidden}", hidden=hidden)
    return from_tensors(smaller, _cut(to_tensors(student), "neurons", _most_important(importance, hidden)))


def keep_layers(student: Student, influence: np.ndarray, n_layers: int) -> Student:
    """The student without the layers of least influence, the others in their order.

    Args:
        student: As trained.
        influence: float[L].
        n_layers: Layers to keep.

    Raises:
        SpecError: no student can have so many, or all would stay.
    """
    _refuse_whole("layers", n_layers, student.model.n_layers)
    smaller = _resized(student.model, f"layers={n_layers}", n_layers=n_layers)
    (kept,) = _most_important(influence[None], n_layers)
    number = {f"blk.{old}.": f"blk.{new}." for new, old in enumerate(kept)}
    tensors = {}
    for name, tensor in to_tensors(student).items():
        prefix = name[: name.find(".", 4) + 1] if name.startswith("blk.") else ""
        if not prefix or prefix in number:
            tensors[number.get(prefix, "") + name.removeprefix(prefix)] = tensor
    return from_tensors(smaller, tensors)


def _refuse_whole(part: str, kept: int, whole: int, *, step: int = 1) -> None:
    """Refuse to keep none, all or more than there are: what is left whole would be healed for nothing."""
    if 0 < kept < whole:
        return
    why = "which leaves nothing out" if kept == whole else "which cannot be kept"
    most = whole - step
    allowed = f"allowed is {step}{f' to {most}' if most > step else ''}" if most > 0 else f"and {step} must stay"
    raise SpecError(f"--prune: got {part}={kept} of {whole}, {why}, {allowed} — keep fewer, or say nothing of {part}")


def _resized(model: ModelSpec, said: str, **sizes: int) -> ModelSpec:
    """The model with those sizes, for which something was said to be kept."""
    try:
        return ModelSpec(**(model.model_dump() | sizes))
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ").partition(";")[0]
        raise SpecError(f"--prune: got {said}, of which no student is made ({why}) — keep another number") from error


def _most_important(importance: np.ndarray, n_kept: int) -> list[np.ndarray]:
    """Of each layer the indices of the largest values, in order."""
    return [np.sort(np.argsort(-row, kind="stable")[:n_kept]) for row in importance]


def _spread(kept: np.ndarray, width: int) -> np.ndarray:
    """Rows or columns of the heads that are kept."""
    return (kept[:, None] * width + np.arange(width)).ravel()


def _cut(tensors: Mapping[str, np.ndarray], what: str, kept: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with the rows or columns of each layer that are kept."""
    cut = dict(tensors)
    for i, indices in enumerate(kept):
        for name in BY_ROWS[what]:
            cut[f"blk.{i}.{name}.weight"] = tensors[f"blk.{i}.{name}.weight"][indices]
        for name in BY_COLUMNS[what]:
            cut[f"blk.{i}.{name}.weight"] = tensors[f"blk.{i}.{name}.weight"][:, indices]
    return cut
