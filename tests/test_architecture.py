"""Who may import whom. The table below is the documentation: a module imports lower ranks only, equal ranks never."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scaling"

RANKS = {
    "errors": 0,
    "files": 1,
    "registry": 1,
    "stop": 1,
    "spec": 2,
    "accounting": 3,
    "laws": 3,
    "records": 4,
    "formats": 4,
    "data": 5,
    "fit": 5,
    "curves": 5,
    "config": 6,
    "train": 6,
    "predict": 7,
    "teach": 7,
    "sweep": 8,
    "compress": 8,
    "export": 9,
    "chain": 10,
    "report": 11,
    "cli": 12,
    "__main__": 13,
}

PAPER_HALF = ("spec", "accounting", "laws", "records", "formats", "data", "fit", "curves", "config", "predict")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "scaling" else [f"scaling.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("scaling.")}
    return rooms


def test_every_room_has_a_rank_and_every_rank_a_room():
    assert {room_of(path) for path in modules()} == set(RANKS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_lower_ranks_only(path):
    own = room_of(path)
    for room in imported_rooms(path) - {own}:
        allowed = RANKS[room] < RANKS[own]
        assert allowed, f"{own} (rank {RANKS[own]}) imports {room} (rank {RANKS[room]})"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_has_one_job_and_stays_readable(path):
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= 400, f"{path.name} has {lines} lines; split it by job"


def loaded_modules(statement: str) -> set[str]:
    command = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_jax_nor_matplotlib():
    assert not {"jax", "matplotlib", "pandas", "scipy"} & loaded_modules("import scaling")


@pytest.mark.parametrize("room", PAPER_HALF)
def test_the_paper_half_never_loads_jax(room):
    found = [path for path in modules() if room_of(path) == room]
    names = [".".join(("scaling", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in found]
    statement = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    assert not {"jax", "matplotlib"} & loaded_modules(statement)
