"""Which checkpoints of a training there are, and what each says of itself; its arrays are for whoever trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling.errors import ScalingError
from scaling.files import read_json

DESCRIPTION = Path("description", "metadata")
"""Where a checkpoint describes itself, in its own folder."""


def checkpoint_numbers(folder: Path) -> list[int]:
    """The checkpoints in a folder, newest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def descriptions(folder: Path) -> Iterator[dict[str, Any]]:
    """What the checkpoints in a folder say of themselves, newest first; one that cannot be read is passed over."""
    for number in checkpoint_numbers(folder):
        try:
            found = read_json(folder / str(number) / DESCRIPTION)
        except ScalingError:
            continue
        if isinstance(found, dict):
            yield found
