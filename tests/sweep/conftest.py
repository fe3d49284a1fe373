"""A small sweep of runs that take no time, and a results folder for them."""

import sys
from pathlib import Path

import pytest

from scaling.records import RunStore

# Workers are processes of their own and import the trainer by name.
sys.path.insert(0, str(Path(__file__).parent))

from quick_trainer import spec


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "results")


@pytest.fixture
def grid():
    """Six runs in two trunks: 32 and 64 wide, 10, 20 and 40 steps."""
    return [spec(width, steps * 640) for width in (32, 64) for steps in (10, 20, 40)]


@pytest.fixture
def make_spec():
    return spec
