"""Students and trainings on disk, by orbax: written completely or not at all, checked when they are read."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from scaling.accounting import tensor_shapes
from scaling.errors import TrainError
from scaling.spec import ModelSpec
from scaling.train.model import Student, from_tensors, to_tensors

log = logging.getLogger("scaling")

KEPT = 2
"""Checkpoints of a training: the latest, and the one to fall back to."""

_READ_ERRORS = (OSError, ValueError, KeyError, RuntimeError)


def save_student(folder: Path, student: Student) -> None:
    """Write a student's tensors, replacing what is there."""
    with _clear_error(f"{folder}: the student cannot be written"), _by_itself() as writer:
        writer.save(Path(folder).absolute(), to_tensors(student), force=True)


def load_student(folder: Path, model: ModelSpec) -> Student:
    """Read the student that :func:`save_student` wrote.

    Raises:
        TrainError: if it is absent, damaged, or of another model.
    """
    template = {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(model).items()}
    try:
        with _by_itself() as reader:
            tensors = reader.restore(Path(folder).absolute(), template)
    except _READ_ERRORS as error:
        raise TrainError(
            f"{folder}: no student of this model can be read here — {_first_line(error)}; "
            "if the run is done, move its folder away and it will be trained again"
        ) from error
    return from_tensors(model, tensors)


class TrainingCheckpoints:
    """The last checkpoints of one training: any tree of arrays, with a small JSON description.

    Args:
        folder: Owned by one training; created at the first save.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder).absolute()
        self._manager: ocp.CheckpointManager | None = None

    def save(self, tree: Any, description: dict[str, Any]) -> None:
        """Write a checkpoint after all that are there.

        Raises:
            TrainError: if it cannot be written; those before are left as they were.
        """
        arrays = _named(tree)
        layout = {name: [list(part.shape), str(part.dtype)] for name, part in arrays.items()}
        content = ocp.args.Composite(
            # orbax writes no empty array; the layout says that it was there.
            arrays=ocp.args.StandardSave({name: part for name, part in arrays.items() if part.size}),
            description=ocp.args.JsonSave({**description, "layout": layout, "digest": _digest(arrays)}),
        )
        with _clear_error(f"{self.folder}: a checkpoint cannot be written; the last good one is intact"):
            manager = self._open()
            manager.save((manager.latest_step() or 0) + 1, args=content, force=True)

    def newest_first(self) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        """Description and named arrays of each readable checkpoint; a damaged one is passed over, with a warning."""
        if not self.folder.is_dir():
            return
        for number in sorted(self._open().all_steps(), reverse=True):
            try:
                yield self._read(number)
            except _READ_ERRORS as error:
                log.warning(
                    "%s: checkpoint %d is damaged (%s); going back to the one before",
                    self.folder,
                    number,
                    _first_line(error),
                )

    def close(self) -> None:
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEPT,
                enable_async_checkpointing=False,
                create=False,
                multiprocessing_options=_this_process(),
            )
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=("arrays", "description"))
        return self._manager

    def _read(self, number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        manager = self._open()
        description = manager.restore(number, args=ocp.args.Composite(description=ocp.args.JsonRestore()))
        description = dict(description["description"])
        layout = description.pop("layout")
        arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}
        template = {name: part for name, part in arrays.items() if part.size}
        content = manager.restore(number, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(template)))
        arrays |= content["arrays"]
        if _digest(arrays) != description.pop("digest"):
            raise ValueError("its content does not match its digest")
        return description, arrays


def _this_process() -> ocp.options.MultiprocessingOptions:
    """Makes orbax write and read without the other processes of a training, which it would wait for."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(me, active_processes={me}, barrier_sync_key_prefix=f"process{me}")


def _by_itself() -> ocp.StandardCheckpointer:
    return ocp.StandardCheckpointer(multiprocessing_options=_this_process())


def fill(tree: Any, arrays: dict[str, np.ndarray], prefix: str = "") -> Any:
    """A tree like ``tree``, with the named arrays of a checkpoint as its leaves.

    Raises:
        KeyError: if an array is not there.
        ValueError: if one has another shape.
    """

    def leaf(path: Any, like: jax.Array) -> jax.Array:
        found = arrays[prefix + _name(path)]
        if found.shape != like.shape:
            raise ValueError(f"{prefix + _name(path)} has shape {found.shape}, not {like.shape}")
        return jax.numpy.asarray(found)

    return jax.tree_util.tree_map_with_path(leaf, tree)


def _named(tree: Any) -> dict[str, np.ndarray]:
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


class _clear_error:
    """Turn what a full or unwritable disk raises into one sentence."""

    def __init__(self, sentence: str):
        self.sentence = sentence

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError | ValueError | RuntimeError):
            raise TrainError(
                f"{self.sentence} — {_first_line(error)}; free some space and start the same command again"
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
