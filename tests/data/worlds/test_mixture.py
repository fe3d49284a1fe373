"""Real documents among a teacher's: shares, exact laws, and the bound that tells what mixing can cost."""

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.data.worlds import divergence, open_generator
from scaling.spec import (
    CoverageTeacher,
    DataSpec,
    FactSource,
    HierarchySource,
    MarkovSource,
    MixtureTeacher,
    NoiseTeacher,
    ShiftTeacher,
    StaleTeacher,
    TemperatureTeacher,
)

NOISE = NoiseTeacher(kind="noise", rate=0.5)
SOURCES = {
    "w0": (FactSource(kind="w0"), NOISE),
    "w1": (MarkovSource(kind="w1", n_symbols=40, context=24), NOISE),
    "w2": (HierarchySource(kind="w2", n_symbols=8, n_rules=3, depth=3), CoverageTeacher(kind="coverage", top_keys=2)),
}


def mixture(name, real):
    source, teacher = SOURCES[name]
    return source, MixtureTeacher(kind="mixture", real=real, teacher=teacher)


def test_the_share_of_real_sequences_is_the_one_asked_for():
    source, mixed = mixture("w0", 0.3)
    text = open_generator(source, mixed).sequences(seed=2, start=100, count=3000)
    real = open_generator(source).sequences(seed=2, start=100, count=3000)
    teacher = open_generator(source, mixed.teacher).sequences(seed=2, start=100, count=3000)
    is_real, is_teacher = (text == real).all(1), (text == teacher).all(1)
    assert (is_real | is_teacher).all()
    assert (is_real & ~is_teacher).sum() / (is_real != is_teacher).sum() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("name", SOURCES)
def test_the_text_follows_the_law_that_weighs_its_writers(name):
    source, mixed = mixture(name, 0.4)
    language = open_generator(source, mixed)
    text = language.sequences(seed=1, start=0, count=3000)
    laws = language.next_token_probs(text)
    surprise = -np.log(np.take_along_axis(laws, text[..., None], axis=-1)[..., 0])
    gap = (surprise + (laws * np.log(np.where(laws > 0, laws, 1))).sum(-1)).mean(1)
    assert laws.sum(-1) == pytest.approx(1, abs=1e-9)
    assert abs(gap.mean()) < 3 * gap.std() / len(gap) ** 0.5


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("real", [0.05, 0.5])
def test_the_divergence_of_a_document_is_below_both_bounds(name, real):
    source, mixed = mixture(name, real)
    language = open_generator(source, mixed)
    n_scored = language.scored.sum()
    alone = divergence(source, mixed.teacher).total
    found = divergence(source, mixed).total
    assert 0 < found < (1 - real) * alone + 1e-3
    assert found * n_scored < np.log(1 / real)


def test_a_mixture_reads_the_same_in_pieces():
    language = open_generator(*mixture("w2", 0.5))
    whole = language.sequences(seed=0, start=0, count=300)
    assert np.array_equal(whole[17:280], language.sequences(seed=0, start=17, count=263))


def test_a_teacher_that_cannot_speak_cannot_be_mixed_in():
    stale = StaleTeacher(kind="stale", n_records=10)
    with pytest.raises(ValidationError, match="a stale teacher cannot speak for source w2"):
        DataSpec(source=SOURCES["w2"][0], teacher=MixtureTeacher(kind="mixture", real=0.5, teacher=stale))


@pytest.mark.parametrize(
    "teacher",
    [
        NOISE,
        CoverageTeacher(kind="coverage", top_keys=30),
        TemperatureTeacher(kind="temperature", temperature=0.6),
        TemperatureTeacher(kind="temperature", temperature=2.0),
    ],
)
@pytest.mark.parametrize("real", [0.02, 0.5])
def test_the_sum_over_all_that_can_be_read_is_what_samples_say(teacher, real):
    source = FactSource(kind="w0", n_records=3)
    mixed = MixtureTeacher(kind="mixture", real=real, teacher=teacher)
    p, q = open_generator(source), open_generator(source, mixed)
    text = p.sequences(seed=4, start=0, count=1500)
    laws = [speaker.next_token_probs(text)[:, p.scored] for speaker in (p, q)]
    kl = (laws[0] * np.log(np.where(laws[0] > 0, laws[0], 1) / np.where(laws[0] > 0, laws[1], 1))).sum(-1).mean(1)
    exact = divergence(source, mixed)
    assert exact.se == 0
    assert abs(kl.mean() - exact.total) < 3 * kl.std() / len(kl) ** 0.5


def test_a_mixture_ends_at_its_writers():
    source, alone = SOURCES["w0"][0], divergence(SOURCES["w0"][0], NOISE).total
    shares = [divergence(*mixture("w0", real)).total for real in (1e-12, 0.05, 0.5, 1 - 1e-9)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(alone, rel=1e-3)
    assert shares[-1] < 1e-8
    shift = MixtureTeacher(kind="mixture", real=0.5, teacher=ShiftTeacher(kind="shift", temperature=1.2))
    assert divergence(source, shift).total == pytest.approx(0, abs=1e-12), "it answers truly"


def test_an_average_says_how_well_it_is_known():
    source, mixed = mixture("w1", 0.3)
    found = divergence(source, mixed)
    p, q = open_generator(source), open_generator(source, mixed)
    text = p.sequences(seed=8, start=0, count=2000)
    laws = [speaker.next_token_probs(text)[:, p.scored] for speaker in (p, q)]
    kl = (laws[0] * np.log(np.where(laws[0] > 0, laws[0], 1) / np.where(laws[0] > 0, laws[1], 1))).sum(-1).mean(1)
    assert 0 < found.se < 0.01 * found.total + 0.001
    assert abs(kl.mean() - found.total) < 3 * (kl.var() / len(kl) + found.se**2) ** 0.5
