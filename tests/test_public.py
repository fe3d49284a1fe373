"""What a notebook imports exists, and a misspelt name says what does."""

from __future__ import annotations

import pytest

import scaling


@pytest.mark.parametrize("name", scaling.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    assert getattr(scaling, name).__doc__


def test_a_misspelt_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="load_runs"):
        _ = scaling.load_rums
