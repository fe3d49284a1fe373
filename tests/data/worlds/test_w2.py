"""W2: closed forms against samples, and the exact law against all trees written out."""

from itertools import product

import numpy as np
import pytest

from scaling.data.worlds import divergence, open_generator, open_world
from scaling.data.worlds.generator import averaged_divergence
from scaling.data.worlds.w2_rules import Rules
from scaling.data.worlds.w2_teachers import contexts
from scaling.spec import CoverageTeacher, HierarchySource, NoiseTeacher, TemperatureTeacher

SMALL = HierarchySource(kind="w2", n_symbols=3, n_rules=2, depth=2)
SOURCE = HierarchySource(kind="w2", n_symbols=8, n_rules=3, depth=4)


DISTORTED = {
    "noise": NoiseTeacher(kind="noise", rate=0.3),
    "sharp": TemperatureTeacher(kind="temperature", temperature=0.6),
    "flat": TemperatureTeacher(kind="temperature", temperature=1.7),
}


def knows(levels):
    return CoverageTeacher(kind="coverage", top_keys=levels)


def surprise(generator, text):
    return -np.log(np.take_along_axis(generator.next_token_probs(text), text[..., None], axis=-1)[..., 0])


def all_trees(source):
    """Every sequence of a small world, each as often as it has equally likely trees."""
    rules = Rules(source.n_symbols, source.n_rules, source.branching, source.depth, source.seed).rules
    for root, *choice in product(range(3), range(2), range(2), range(2)):
        left, right = rules[1][root, choice[0]]
        yield (*rules[0][left, choice[1]], *rules[0][right, choice[2]])


def test_the_law_is_that_of_all_trees_that_fit():
    trees = np.array(list(all_trees(SMALL)))
    laws = open_generator(SMALL).next_token_probs(np.unique(trees, axis=0))
    for text, law in zip(np.unique(trees, axis=0), laws, strict=True):
        for t in range(4):
            fitting = trees[(trees[:, :t] == text[:t]).all(1)]
            assert law[t, :3] == pytest.approx(np.bincount(fitting[:, t], minlength=3) / len(fitting))


def test_a_sequence_has_the_entropy_of_its_free_choices():
    assert open_world(SOURCE).entropy * 16 == pytest.approx(np.log(8) + 15 * np.log(3))
    text = open_generator(SOURCE).sequences(seed=0, start=0, count=400)
    assert surprise(open_generator(SOURCE), text).sum(1) == pytest.approx(16 * open_world(SOURCE).entropy)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_who_knows_fewer_levels_diverges_by_the_closed_form(levels):
    teacher = open_generator(SOURCE, knows(levels))
    text = open_generator(SOURCE).sequences(seed=1, start=0, count=400)
    gap = (surprise(teacher, text) - surprise(open_generator(SOURCE), text)).mean(1)
    assert gap == pytest.approx(divergence(SOURCE, knows(levels)).total)
    own = teacher.sequences(seed=1, start=0, count=400)
    assert surprise(teacher, own).mean(1) == pytest.approx(
        open_world(SOURCE).entropy + divergence(SOURCE, knows(levels)).total
    )


def test_knowing_all_levels_is_being_the_world():
    real, teacher = open_generator(SOURCE), open_generator(SOURCE, knows(9))
    assert divergence(SOURCE, knows(9)).total == 0
    assert np.array_equal(real.sequences(2, 0, 50), teacher.sequences(2, 0, 50))


def test_rules_are_unambiguous():
    for rules in Rules(8, 8, 2, 3).rules:
        assert len({tuple(rule) for rule in rules.reshape(-1, 2)}) == 64


def test_a_text_is_the_same_in_whatever_pieces_it_is_read():
    real = open_generator(SOURCE)
    whole = real.sequences(seed=3, start=0, count=600)
    pieces = [real.sequences(seed=3, start=a, count=b - a) for a, b in [(0, 1), (1, 257), (257, 600)]]
    assert np.array_equal(whole, np.concatenate(pieces))


def test_the_split_calls_missing_levels_coverage():
    real, teacher = open_generator(SOURCE), open_generator(SOURCE, knows(3))
    text = real.evaluation_sequences(200, seed=0)
    p, q = real.next_token_probs(text)[..., :8], teacher.next_token_probs(text)[..., :8]
    kl = (p * (np.log(np.where(p > 0, p, 1)) - np.log(np.where(p > 0, q, 1)))).sum(-1)
    assert real.gain(text) == pytest.approx(kl, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_of_a_teacher_that_lacks_levels_no_context_counts_as_noise(seed):
    rng = np.random.default_rng(seed)
    n_symbols, branching = int(rng.integers(4, 9)), int(rng.integers(2, 4))
    rules = int(rng.integers(1, n_symbols ** (branching - 1) + 1))
    source = HierarchySource(
        kind="w2", n_symbols=n_symbols, n_rules=min(rules, 6), branching=branching, depth=3, seed=seed
    )
    for levels in (1, 2):
        real, teacher = open_generator(source), open_generator(source, knows(levels))
        found = averaged_divergence(real, teacher, count=400)
        assert found.noise == divergence(source, knows(levels)).noise == 0
        assert found.coverage == pytest.approx(divergence(source, knows(levels)).coverage, abs=4 * found.se + 1e-9)


def test_more_rules_than_tuples_are_refused():
    with pytest.raises(ValueError, match="allow at most 8"):
        HierarchySource(kind="w2", n_symbols=8, n_rules=9)


def within_3_se(per_sequence, expected):
    return abs(per_sequence.mean() - expected) < 3 * per_sequence.std() / len(per_sequence) ** 0.5


@pytest.mark.parametrize("source", [SOURCE, HierarchySource(kind="w2", n_symbols=5, n_rules=3, branching=3, depth=2)])
@pytest.mark.parametrize("name", DISTORTED)
def test_the_divergence_of_distorted_laws_is_what_samples_say(source, name):
    real, teacher = open_generator(source), open_generator(source, DISTORTED[name])
    text = real.sequences(seed=5, start=0, count=1000)
    p, q = real.next_token_probs(text), teacher.next_token_probs(text)
    kl = (p * (np.log(np.where(p > 0, p, 1)) - np.log(np.where(p > 0, q, 1)))).sum(-1).mean(1)
    exact = divergence(source, DISTORTED[name])
    assert exact.coverage == exact.se == 0
    assert within_3_se(kl, exact.noise)


@pytest.mark.parametrize("name", DISTORTED)
def test_a_distorted_teacher_writes_by_the_law_it_states(name):
    teacher = open_generator(SOURCE, DISTORTED[name])
    text = teacher.sequences(seed=6, start=0, count=1500)
    laws = teacher.next_token_probs(text)
    assert laws.sum(-1) == pytest.approx(1, abs=1e-9)
    expected = -(laws * np.log(np.where(laws > 0, laws, 1))).sum(-1)
    assert within_3_se((surprise(teacher, text) - expected).mean(1), 0)
    assert np.array_equal(text[300:500], teacher.sequences(seed=6, start=300, count=200))


def test_contexts_are_those_of_all_trees():
    world = Rules(3, 2, 2, 2)
    trees = np.array(list(all_trees(SMALL)))
    for t in range(4):
        mass, law = contexts(world, t)
        assert mass.sum() == pytest.approx(1)
        assert mass @ law == pytest.approx(np.bincount(trees[:, t], minlength=3) / len(trees))
        h = -(law * np.log(np.where(law > 0, law, 1))).sum(-1)
        assert mass @ h == pytest.approx(surprise(open_generator(SMALL), trees)[:, t].mean())


def test_a_world_with_too_many_contexts_is_measured_on_a_set(monkeypatch):
    exact = divergence(SOURCE, DISTORTED["noise"])
    monkeypatch.setattr("scaling.data.worlds.w2_teachers.MOST_CONTEXTS", 50)
    averaged = divergence(SOURCE, DISTORTED["noise"])
    assert 0 < averaged.se < 0.005
    assert averaged.coverage == 0
    assert abs(averaged.noise - exact.noise) < 3 * averaged.se
