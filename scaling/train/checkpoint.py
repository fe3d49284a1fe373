"""Students and trainings on disk, by orbax: written completely or not at all, checked when they are read."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from scaling.accounting import tensor_shapes
from scaling.errors import MachineError, RecordError, TrainError
from scaling.files import machine_error, make_folder, publish_folder, read_json, remove_folder, require_room, write_json
from scaling.records.checkpoints import DESCRIPTION, checkpoint_numbers
from scaling.spec import ModelSpec
from scaling.train.student.model import Student, from_tensors, to_tensors

log = logging.getLogger("scaling")

KEPT = 2
"""Checkpoints of a training: the latest, and the one to fall back to."""

_READ_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecordError)


def save_student(folder: Path, student: Student) -> None:
    """Write a student's tensors to a folder that does not exist.

    Raises:
        MachineError: if this machine cannot.
    """
    with _clear_error(f"{folder}: the student cannot be written"), _by_itself() as writer:
        tensors = to_tensors(student)
        require_room(Path(folder).parent, _room_for(tensors))
        writer.save(Path(folder).absolute(), tensors)


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
        fence: Called right before each step that others would see; raises where the training is another's by now.
    """

    def __init__(self, folder: Path, *, fence: Callable[[], None] = lambda: None):
        self.folder, self._fence = Path(folder).absolute(), fence
        self._good: list[int] = []

    def save(self, tree: Any, description: dict[str, Any]) -> None:
        """Write a checkpoint after all that are there, and drop old ones once it was read back.

        Raises:
            MachineError: if it cannot be written, or is not what was written; those before are left as they were.
            Preempted: if the training is another's by now.
        """
        arrays = _named(tree)
        layout = {name: [list(part.shape), str(part.dtype)] for name, part in arrays.items()}
        draft = self.folder / f"draft.{secrets.token_hex(4)}"
        with _clear_error(f"{self.folder}: a checkpoint cannot be written; the last good one is intact"):
            make_folder(draft / DESCRIPTION.parent)
            require_room(draft, _room_for(arrays))
            with _by_itself() as writer:
                # orbax writes no empty array; the layout says that it was there.
                writer.save(draft / "arrays", {name: part for name, part in arrays.items() if part.size})
            told = {**description, "layout": layout, "digest": _digest(arrays)}
            write_json(draft / DESCRIPTION, told)
            _read(draft)
            self._publish(draft)
        self._drop_old()

    def newest_first(self) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        """Description and named arrays of each readable checkpoint; a damaged one is passed over, with a warning."""
        numbers = checkpoint_numbers(self.folder)
        for number in numbers:
            try:
                found = _read(self.folder / str(number))
            except _READ_ERRORS as error:
                log.warning(
                    "%s: checkpoint %d is damaged (%s); going back to the one before",
                    self.folder,
                    number,
                    _first_line(error),
                )
                continue
            self._good.insert(0, number)
            yield found
        if numbers and not self._good:
            log.warning("%s: none of %d checkpoints can be read; the training begins anew", self.folder, len(numbers))

    def _publish(self, draft: Path) -> None:
        number = max(checkpoint_numbers(self.folder), default=0) + 1
        self._fence()
        while not publish_folder(draft, self.folder / str(number)):
            number += 1
        self._good.append(number)

    def _drop_old(self) -> None:
        """Remove all but the last checkpoints that were read and found good, drafts of the dead included."""
        kept = {str(number) for number in self._good[-KEPT:]}
        old = [path for path in self.folder.iterdir() if path.name not in kept]
        for path in old:
            self._fence()
            remove_folder(path)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and named arrays of one checkpoint."""
    description = dict(read_json(folder / DESCRIPTION))
    layout = description.pop("layout")
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}
    with _by_itself() as reader:
        arrays |= reader.restore(folder / "arrays", {name: part for name, part in arrays.items() if part.size})
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


def _room_for(arrays: dict[str, np.ndarray]) -> float:
    """Bytes that arrays take on disk, with some to spare for what orbax writes beside them."""
    return 1.1 * sum(part.nbytes for part in arrays.values()) + 2**17


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


@contextmanager
def _clear_error(sentence: str) -> Iterator[None]:
    """Turn what a library raises that cannot write to the disk into one sentence."""
    # It logs the traceback of each of its threads as well.
    absl = logging.getLogger("absl")
    was_disabled, absl.disabled = absl.disabled, True
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, MachineError) as error:
        found = machine_error(error)
        why = found or f"{_first_line(error)}; check the disk and start the same command again"
        raise MachineError(f"{sentence} — {why}") from error
    finally:
        absl.disabled = was_disabled


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
