"""W1: exact entropies and divergences against samples, and the closed forms that hold between them."""

import numpy as np
import pytest

from scaling.data.worlds import divergence, open_generator, open_world
from scaling.data.worlds.w1_transitions import Transitions
from scaling.spec import CoverageTeacher, MarkovSource, NoiseTeacher, RealTeacher, TemperatureTeacher

SOURCE = MarkovSource(kind="w1", n_symbols=40, context=24)
WORLD = Transitions(n_symbols=40, context=24)
TEACHERS = {
    "real": RealTeacher(),
    "noise": NoiseTeacher(kind="noise", rate=0.2),
    "coverage": CoverageTeacher(kind="coverage", top_keys=100),
    "sharp": TemperatureTeacher(kind="temperature", temperature=0.7),
}


def surprise(generator, text):
    return -np.log(np.take_along_axis(generator.next_token_probs(text), text[..., None], axis=-1)[..., 0])


def within_3_se(per_sequence, expected):
    return abs(per_sequence.mean() - expected) < 3 * per_sequence.std() / len(per_sequence) ** 0.5


def symbol_entropy(world):
    """H(c): what knowing nothing of the context leaves."""
    return -(world.symbols * np.log(world.symbols)).sum()


def backoff_entropy(world):
    """H(c | b): what knowing one symbol leaves."""
    return -(world.pairs * np.log(world.backoff)).sum()


def test_the_full_world_has_the_entropies_of_its_construction():
    # Other random successors give other worlds; the published pilot's were 4.571, 3.663 and 2.906.
    world = Transitions()
    assert symbol_entropy(world) == pytest.approx(4.571, abs=0.05)
    assert backoff_entropy(world) == pytest.approx(3.663, abs=0.05)
    assert world.entropy == pytest.approx(2.906, abs=0.02)


def test_the_law_of_pairs_is_at_rest():
    after = np.zeros_like(WORLD.pairs)
    for a in range(40):
        after += WORLD.pairs[a][:, None] * WORLD.probs(*WORLD.contexts(a))
    assert np.abs(after - WORLD.pairs).max() < 1e-12
    assert WORLD.pairs.sum() == pytest.approx(1, abs=1e-12)


def test_a_sampled_text_is_as_surprising_as_its_entropy():
    real = open_generator(SOURCE)
    text = real.sequences(seed=1, start=0, count=3000)
    found = surprise(real, text)
    assert within_3_se(found[:, 2:].mean(1), open_world(SOURCE).entropy)
    assert within_3_se(found[:, 0], symbol_entropy(WORLD))
    assert within_3_se(found[:, 1], backoff_entropy(WORLD))


@pytest.mark.parametrize("name", ["noise", "coverage", "sharp"])
def test_the_divergence_of_a_teacher_is_what_samples_say(name):
    real, teacher = open_generator(SOURCE), open_generator(SOURCE, TEACHERS[name])
    text = real.sequences(seed=2, start=0, count=3000)
    ratio = (surprise(teacher, text) - surprise(real, text))[:, 2:].mean(1)
    assert within_3_se(ratio, divergence(SOURCE, TEACHERS[name]).total)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_writes_by_the_law_it_states(name):
    teacher = open_generator(SOURCE, TEACHERS[name])
    text = teacher.sequences(seed=3, start=0, count=3000)
    laws = teacher.next_token_probs(text)
    assert laws.sum(-1) == pytest.approx(1, abs=1e-9)
    expected = -(laws * np.log(np.where(laws > 0, laws, 1))).sum(-1)
    assert within_3_se((surprise(teacher, text) - expected).mean(1), 0)
    counts, expected_counts = np.bincount(text[:, 5], minlength=40), laws[:, 5, :40].sum(0)
    chi2 = ((counts - expected_counts) ** 2 / expected_counts).sum()
    assert chi2 < 39 + 4 * (2 * 39) ** 0.5


def test_a_teacher_that_knows_no_pair_is_a_shorter_context_away():
    backs_off = open_generator(SOURCE, CoverageTeacher(kind="coverage", top_keys=1))
    missing = WORLD.pairs.max() * backoff_entropy(WORLD)
    gap = divergence(SOURCE, CoverageTeacher(kind="coverage", top_keys=1))
    assert gap.total == pytest.approx(backoff_entropy(WORLD) - WORLD.entropy, abs=missing)
    assert gap.noise == 0
    assert backs_off.divergence() == gap
    assert divergence(SOURCE, CoverageTeacher(kind="coverage", top_keys=1600)).total == 0


def test_noise_is_told_from_coverage():
    for rate in (0.05, 0.4, 0.9):
        gap = divergence(SOURCE, NoiseTeacher(kind="noise", rate=rate))
        assert gap.noise > gap.coverage == 0
    assert divergence(SOURCE, TEACHERS["real"]).total == 0


def test_a_text_is_the_same_in_whatever_pieces_it_is_read():
    real = open_generator(SOURCE)
    whole = real.sequences(seed=3, start=0, count=600)
    pieces = [real.sequences(seed=3, start=a, count=b - a) for a, b in [(0, 1), (1, 257), (257, 600)]]
    assert np.array_equal(whole, np.concatenate(pieces))


def test_the_evaluation_set_covers_the_world_more_evenly_than_chance():
    real = open_generator(SOURCE)
    exact, errors = WORLD.symbols, []
    for text in (real.evaluation_sequences(500, seed=0), real.sequences(seed=9, start=0, count=500)):
        errors.append(np.abs(np.bincount(text[:, 0], minlength=40) / 500 - exact).sum())
    assert errors[0] < errors[1] / 2
