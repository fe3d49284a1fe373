"""Where the trends of data and of compute meet, and what a teacher does to that point."""

from __future__ import annotations

import pytest

from scaling.errors import SpecError
from scaling.laws.presets import preset
from scaling.laws.published.preset import PF_DAY
from scaling.predict.explain.trends import trends


def test_the_trends_of_real_text_meet_where_the_published_constants_put_it():
    (real,) = trends().meetings
    assert real.flops / PF_DAY == pytest.approx(1.1e4, rel=0.03)
    assert (real.n_params, real.n_tokens) == pytest.approx((1.2e12, 2.5e11), rel=0.03)
    assert real.loss == pytest.approx(1.67, abs=0.005)
    assert real.loss == pytest.approx(float(preset("kaplan-d").law.loss(d=real.n_tokens)), rel=1e-6)


def test_a_better_teacher_moves_the_point_unless_its_error_only_adds():
    worse, better = trends(teacher_loss=2.2), trends(teacher_loss=1.9)
    moved = {one.effect: (one.moved, two.moved) for one, two in zip(worse.meetings, better.meetings, strict=True)}
    assert moved["bottleneck"][0] < moved["bottleneck"][1] < 1
    assert moved["floor and effective data"][0] < moved["floor and effective data"][1] < 1
    assert moved["floor"] == (1, 1)


@pytest.mark.parametrize("loss", [1.8, 2.0, 2.5])
def test_both_trends_are_at_the_same_loss_where_they_meet(loss):
    found = trends(teacher_loss=loss, discount=0.7)
    by_effect = {one.effect: one for one in found.meetings}
    assert by_effect["bottleneck"].loss == loss
    assert float(preset("kaplan-c").law.loss(c=by_effect["bottleneck"].flops)) == pytest.approx(loss, rel=1e-9)
    devalued = by_effect["floor and effective data"]
    worth = devalued.n_tokens * 2.718281828459045 ** (-0.7 * found.delta)
    assert float(preset("kaplan-d").law.loss(d=worth)) + found.delta == pytest.approx(devalued.loss, rel=1e-6)


def test_a_teacher_as_good_as_text_itself_moves_nothing():
    found = trends(teacher_loss=1.5)
    assert {one.moved for one in found.meetings} == {1.0}
    assert "leaves the point" in found.answer


@pytest.mark.parametrize("said", [{"teacher_loss": 0.0}, {"teacher_loss": -1.0}, {"discount": -1.0}])
def test_an_impossible_teacher_is_refused(said):
    with pytest.raises(SpecError, match="allowed is"):
        trends(**said)
