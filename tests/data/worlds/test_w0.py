"""W0: closed forms against published values and against samples."""

import numpy as np
import pytest

from scaling.data.worlds.w0_facts import BASE, N_ANSWERS, N_KEYS, RECORD, Facts
from scaling.data.worlds.w0_teachers import W0Generator, key_temperature, knowledge
from scaling.spec import CoverageTeacher, NoiseTeacher, RealTeacher, ShiftTeacher, StaleTeacher, TemperatureTeacher

WORLD = Facts()
TEACHERS = {
    "real": RealTeacher(),
    "noise": NoiseTeacher(kind="noise", rate=0.2),
    "coverage": CoverageTeacher(kind="coverage", top_keys=100),
    "sharp": TemperatureTeacher(kind="temperature", temperature=0.7),
    "flat": TemperatureTeacher(kind="temperature", temperature=1.5),
    "stale": StaleTeacher(kind="stale", n_records=3000),
    "shift": ShiftTeacher(kind="shift", temperature=1.2),
}


def teacher_generator(teacher):
    return W0Generator(WORLD, knowledge(WORLD, teacher), key_temperature(teacher))


def knowledge_gap(teacher):
    return knowledge(WORLD, teacher).divergence(WORLD)


def at_tokens(laws, tokens):
    return np.take_along_axis(laws, tokens[..., None], axis=-1)[..., 0]


def record_entropy():
    """Of a key and its answers, nats."""
    p = WORLD.key_probs
    return -(p * np.log(p)).sum() + N_ANSWERS * WORLD.answer_entropy


def test_entropies_are_those_of_the_definition():
    assert WORLD.answer_entropy == pytest.approx(1.370418, abs=1e-6)
    assert record_entropy() == pytest.approx(3.201251 + 4 * 1.370418, abs=1e-5)
    assert WORLD.answer_gain == pytest.approx(2.095318, abs=1e-6)


@pytest.mark.parametrize(("top_keys", "kl"), [(30, 0.2891), (100, 0.1586), (300, 0.0910)])
def test_a_coverage_teacher_diverges_by_its_missing_tail(top_keys, kl):
    exact = knowledge_gap(CoverageTeacher(kind="coverage", top_keys=top_keys))
    assert exact.coverage == pytest.approx(kl, abs=5e-5)
    assert exact.noise == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("rate", "kl"), [(0.2, 0.1143), (0.4, 0.3164)])
def test_a_noise_teacher_diverges_alike_everywhere(rate, kl):
    exact = knowledge_gap(NoiseTeacher(kind="noise", rate=rate))
    assert exact.noise == pytest.approx(kl, abs=5e-5)
    assert exact.coverage == 0


def test_a_stale_teacher_lacks_what_it_never_saw_and_is_unsure_of_what_it_saw_rarely():
    gaps = [knowledge_gap(StaleTeacher(kind="stale", n_records=n)) for n in (10**3, 10**4, 10**5)]
    assert gaps[0].coverage > gaps[1].coverage > gaps[2].coverage > 0
    assert [gap.noise for gap in gaps] == pytest.approx([0, 0, 0], abs=1e-12), "frequent keys it knows"
    # For large counts n_k a law of 32 symbols estimated from counts is off by about (S_eff − 1)/(2·n_k).
    one = Facts(alpha=30.0)
    often = knowledge(one, StaleTeacher(kind="stale", n_records=10**5)).divergence(one)
    assert often.total == pytest.approx(31 / (2 * 10**5), rel=0.5)


@pytest.mark.parametrize(("times", "probability"), [(1, (1 + 1 / 32) / 2), (2, (2 + 1 / 32) / 3)])
def test_a_stale_teacher_counts_one_uniform_observation_beside_what_it_saw(times, probability):
    seen = knowledge(WORLD, StaleTeacher(kind="stale", n_records=3000))
    # Keys whose first answer was the same symbol each of so many times.
    rows = np.flatnonzero((seen.counts[:, 0].sum(-1) == times) & (seen.counts[:, 0].max(-1) == times))
    text = np.zeros((len(rows), WORLD.context), np.int32)
    text[:, :4] = seen.keys[rows, None] // BASE ** np.arange(3, -1, -1) % BASE
    text[:, 4] = BASE + seen.counts[rows, 0].argmax(-1)
    told = at_tokens(teacher_generator(StaleTeacher(kind="stale", n_records=3000)).next_token_probs(text), text)
    assert len(rows) > 5
    assert told[:, 4] == pytest.approx(probability)


def test_a_shifted_teacher_answers_truly_but_asks_rare_keys_more_often():
    assert knowledge_gap(TEACHERS["shift"]).total == 0
    rare = []
    for teacher in (RealTeacher(), TEACHERS["shift"]):
        text = teacher_generator(teacher).sequences(seed=1, start=0, count=500)
        rare.append(((text.reshape(-1, RECORD)[:, :4] @ BASE ** np.arange(3, -1, -1)) > 1000).mean())
    assert rare[1] > 1.5 * rare[0]


def test_the_real_world_and_temperature_one_do_not_diverge():
    assert knowledge_gap(RealTeacher()).total == 0
    assert knowledge_gap(TemperatureTeacher(kind="temperature", temperature=1)).total == pytest.approx(0, abs=1e-12)


def test_a_sampled_text_is_as_surprising_as_its_entropy():
    real = teacher_generator(RealTeacher())
    text = real.sequences(seed=5, start=0, count=2000)
    surprise = -np.log(at_tokens(real.next_token_probs(text), text)).reshape(-1, RECORD)
    per_record = surprise.sum(1)
    error = per_record.mean() - record_entropy()
    assert abs(error) < 3 * per_record.std() / len(per_record) ** 0.5
    answers = surprise[:, 4:].ravel()
    assert abs(answers.mean() - WORLD.answer_entropy) < 3 * answers.std() / len(answers) ** 0.5


@pytest.mark.parametrize("name", ["noise", "coverage", "sharp", "flat", "stale"])
def test_the_divergence_of_a_teacher_is_what_samples_say(name):
    real, teacher = teacher_generator(RealTeacher()), teacher_generator(TEACHERS[name])
    text = real.sequences(seed=6, start=0, count=1500)
    ratio = np.log(at_tokens(real.next_token_probs(text), text) / at_tokens(teacher.next_token_probs(text), text))
    per_record = ratio[:, real.scored].reshape(-1, 4).mean(1)
    error = per_record.mean() - knowledge_gap(TEACHERS[name]).total
    assert abs(error) < 3 * per_record.std() / len(per_record) ** 0.5
    assert np.all(ratio[:, ~real.scored] == 0), "cues stay true"


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_writes_by_the_law_it_states(name):
    teacher = teacher_generator(TEACHERS[name])
    text = teacher.sequences(seed=7, start=0, count=1500)
    laws = teacher.next_token_probs(text)
    assert laws.sum(-1) == pytest.approx(1, abs=1e-12)
    answers = laws[:, teacher.scored]
    surprise = -np.log(at_tokens(answers, text[:, teacher.scored]))
    expected = -(answers * np.log(np.where(answers > 0, answers, 1))).sum(-1)
    gap = (surprise - expected).mean(1)
    assert abs(gap.mean()) < 3 * gap.std() / len(gap) ** 0.5


def test_every_answer_favours_four_different_symbols_evenly_chosen():
    support = WORLD.support(np.arange(20_000))
    assert np.all(np.diff(np.sort(support.astype(int), axis=-1), axis=-1) > 0)
    counts = np.bincount(support.ravel(), minlength=BASE)
    expected = support.size / BASE
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 31 + 4 * (2 * 31) ** 0.5
    assert not np.array_equal(support, Facts(seed=1).support(np.arange(20_000)))


def test_a_text_is_the_same_in_whatever_pieces_it_is_read():
    real = teacher_generator(RealTeacher())
    whole = real.sequences(seed=3, start=0, count=700)
    pieces = [real.sequences(seed=3, start=a, count=b - a) for a, b in [(0, 1), (1, 255), (255, 258), (258, 700)]]
    assert np.array_equal(whole, np.concatenate(pieces))
    assert not np.array_equal(whole, real.sequences(seed=4, start=0, count=700))


def test_teachers_with_one_seed_speak_of_the_same_keys():
    real, noise = (
        teacher_generator(TEACHERS[name]).sequences(seed=3, start=0, count=300) for name in ("real", "noise")
    )
    cues = np.tile(np.arange(RECORD) < 4, WORLD.n_records)
    assert np.array_equal(real[:, cues], noise[:, cues])
    changed = (real != noise)[:, ~cues].mean()
    assert changed == pytest.approx(0.95 * 0.2 * 31 / 32, abs=0.015), "only answers that the noise redraws"


def test_evaluation_keys_lie_on_the_quantile_grid():
    text = teacher_generator(RealTeacher()).evaluation_sequences(400, seed=0)
    keys = np.sort(text.reshape(-1, RECORD)[:, :4] @ BASE ** np.arange(3, -1, -1))
    n = len(keys)
    below = teacher_generator(RealTeacher()).key_cdf[keys - 1] * (keys > 0)
    middle = (np.arange(n) + 0.5) / n
    assert np.all(below <= middle)
    assert np.all(middle <= teacher_generator(RealTeacher()).key_cdf[keys])
    assert keys.max() < N_KEYS
