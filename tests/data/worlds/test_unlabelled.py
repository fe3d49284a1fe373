"""The split of an unlabelled teacher, inferred from its law alone, where it is known by construction."""

import numpy as np
import pytest

from scaling.data.worlds import divergence, open_generator
from scaling.data.worlds.unlabelled import infer_divergence, learned_share
from scaling.spec import CoverageTeacher, FactSource, HierarchySource, MarkovSource, NoiseTeacher

SOURCES = {
    "w0": FactSource(kind="w0", n_records=2),
    "w1": MarkovSource(kind="w1", n_symbols=40, context=12),
    "w2": HierarchySource(kind="w2", n_symbols=8, n_rules=3, depth=3),
}
GRADES = {"w0": (30, 300), "w1": (100, 800), "w2": (1, 2)}


def inferred(name, teacher):
    source = SOURCES[name]
    text = open_generator(source).evaluation_sequences(1000, seed=0)
    return infer_divergence(source, open_generator(source, teacher).next_token_probs, np.array_split(text, 4))


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("name", ["w0", "w1"])
def test_noise_is_recognised_however_strong(name, rate):
    teacher = NoiseTeacher(kind="noise", rate=rate)
    found = inferred(name, teacher)
    assert found.coverage < 0.01 * found.total
    assert found.total == pytest.approx(divergence(SOURCES[name], teacher).total, abs=4 * found.se + 1e-9)


@pytest.mark.parametrize("grade", [0, 1])
@pytest.mark.parametrize("name", ["w0", "w1"])
def test_what_was_never_learned_is_recognised(name, grade):
    teacher = CoverageTeacher(kind="coverage", top_keys=GRADES[name][grade])
    found = inferred(name, teacher)
    assert abs(found.noise) < 0.01 * found.total
    assert found.total == pytest.approx(divergence(SOURCES[name], teacher).total, abs=4 * found.se + 1e-9)


@pytest.mark.parametrize("levels", GRADES["w2"])
def test_most_of_the_levels_that_were_never_learned_is_recognised(levels):
    found = inferred("w2", CoverageTeacher(kind="coverage", top_keys=levels))
    assert 0.75 * found.total < found.coverage <= found.total


def test_the_share_of_a_law_is_read_from_any_mixture():
    rng = np.random.default_rng(0)
    p, lacking = rng.dirichlet(np.ones(20), size=(2, 50))
    q = 0.3 * p + 0.5 * lacking + 0.2 / 20
    assert learned_share(p, q, lacking) == pytest.approx(0.3)
    even = np.full(20, 1 / 20)
    assert learned_share(p, 0.3 * p + 0.7 * even, even) == pytest.approx(0.3), "backoff and uniform may be one"
