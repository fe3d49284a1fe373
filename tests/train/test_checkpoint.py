"""Checkpoints: read back before older ones are dropped, published whole, and only by the owner."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from scaling.errors import MachineError, Preempted
from scaling.train import checkpoint
from scaling.train.checkpoint import KEPT, TrainingCheckpoints


def tree(value):
    return {"state": np.full(8, value, np.float32), "none": np.zeros(0, np.float32)}


def values(checkpoints):
    return [(description["step"], float(arrays["state"][0])) for description, arrays in checkpoints.newest_first()]


@pytest.fixture
def filled(tmp_path):
    """Three checkpoints, of which the last two are kept."""
    checkpoints = TrainingCheckpoints(tmp_path / "trunk")
    for step in (1, 2, 3):
        checkpoints.save(tree(step), {"step": step})
    return checkpoints


def damage(folder):
    """Change one byte of the largest file, where the arrays are."""
    largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)


def test_the_last_checkpoints_are_kept_and_read_newest_first(filled):
    assert KEPT == 2
    assert values(TrainingCheckpoints(filled.folder)) == [(3, 3.0), (2, 2.0)]
    assert sorted(path.name for path in filled.folder.iterdir()) == ["2", "3"]


def test_a_checkpoint_that_is_not_what_was_written_is_loud_and_drops_nothing(filled, monkeypatch):
    monkeypatch.setattr(checkpoint, "_digest", lambda arrays: str(id(arrays)))
    with pytest.raises(MachineError, match="last good one is intact.*does not match its digest"):
        filled.save(tree(4), {"step": 4})
    monkeypatch.undo()
    assert values(TrainingCheckpoints(filled.folder)) == [(3, 3.0), (2, 2.0)]


def test_the_last_good_checkpoint_outlives_newer_ones_that_are_damaged(filled, caplog):
    damage(filled.folder / "3")
    resumed = TrainingCheckpoints(filled.folder)
    with caplog.at_level(logging.WARNING, "scaling"):
        description, _ = next(resumed.newest_first())
    assert description["step"] == 2
    assert "checkpoint 3 is damaged" in caplog.text
    resumed.save(tree(4), {"step": 4})
    damage(filled.folder / "4")
    assert values(TrainingCheckpoints(filled.folder)) == [(2, 2.0)]


def test_a_training_whose_checkpoints_are_all_damaged_says_that_it_begins_anew(filled, caplog):
    for number in ("2", "3"):
        damage(filled.folder / number)
    with caplog.at_level(logging.WARNING, "scaling"):
        assert values(TrainingCheckpoints(filled.folder)) == []
    assert "none of 2 checkpoints can be read; the training begins anew" in caplog.text


def test_who_was_replaced_neither_adds_nor_drops_a_checkpoint(filled):
    def replaced():
        raise Preempted("taken over")

    late = TrainingCheckpoints(filled.folder, fence=replaced)
    with pytest.raises(Preempted):
        late.save(tree(9), {"step": 9})
    assert values(TrainingCheckpoints(filled.folder)) == [(3, 3.0), (2, 2.0)]


def test_drafts_of_the_dead_are_swept_away(filled):
    (filled.folder / "draft.dead" / "arrays").mkdir(parents=True)
    filled.save(tree(4), {"step": 4})
    assert sorted(path.name for path in filled.folder.iterdir()) == ["3", "4"]
