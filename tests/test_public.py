"""What a notebook imports exists, and a misspelt name says what does."""

from __future__ import annotations

import pkgutil
import tomllib
from pathlib import Path

import pytest

import scaling


@pytest.mark.parametrize("name", scaling.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    assert getattr(scaling, name).__doc__


def test_a_misspelt_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="load_runs"):
        _ = scaling.load_rums


def test_no_public_name_hides_behind_a_room_of_the_same_name():
    rooms = {module.name for module in pkgutil.iter_modules(scaling.__path__)}
    assert not rooms & set(scaling.__all__)


def test_every_file_beside_the_code_is_installed_with_it():
    package = Path(scaling.__file__).parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text("utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["scaling"]
    installed = {path for pattern in globs for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert package / "py.typed" in others
    assert not others - installed
