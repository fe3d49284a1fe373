"""What a notebook imports exists, and a misspelt name says what does."""

from __future__ import annotations

import pkgutil

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
