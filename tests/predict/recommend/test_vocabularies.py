"""Several fits, each of a vocabulary of its own: the answer is the smallest student of all of them, by brute force."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from scaling.config.expand import recommended_text
from scaling.config.sweep import SweepConfig
from scaling.errors import ConfigError, InfeasibleError, SpecError
from scaling.fit.fitter import fit
from scaling.fit.reach import INSIDE, MAX_REACH
from scaling.predict.phones.footprint import footprint
from scaling.predict.quantization import of_a_nat, rounding_cost, times
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import score
from scaling.predict.recommend.recommendation import recommend
from scaling.predict.recommend.vocabularies import smallest_of
from scaling.report.recommendations import show_recommendation
from scaling.spec import RunSpec
from scaling.tables.units import BITS, NATS

TABLE = Path(__file__).resolve().parents[3] / "results" / "reference" / "vocabulary.csv"
WIDTHS, VOLUMES = (32, 64, 96, 128), {257: 990_000, 1024: 340_000, 4096: 230_000}
ROOM = Question(target_loss=2.1, memory_bytes=2**26, probability=0.6)


def run(vocab_size: int, width: int) -> RunSpec:
    tokenizer = {"kind": "bytes"} if vocab_size == 257 else {"kind": "bpe", "vocab_size": vocab_size}
    source = {"kind": "text", "corpus": "none", "tokenizer": tokenizer}
    model = {"vocab_size": vocab_size, "width": width, "n_layers": 2, "context": 128}
    return RunSpec.model_validate({"model": model, "data": {"source": source}, "tokens": VOLUMES[vocab_size]})


@pytest.fixture(scope="module")
def fits():
    """A law of each vocabulary of the reference table, by its own runs."""
    runs = pd.read_csv(TABLE)
    quick = {"law": "chinchilla", "loss": "bits_per_byte", "strict": False, "bootstrap": 20}
    return {size: fit(runs, where=f"vocab_size == {size}", **quick) for size in VOLUMES}


def asked(fits, question):
    """Each fit, to be asked about the students of its vocabulary."""
    return {
        f"V{size}": partial(recommend, one, [run(size, width) for width in WIDTHS], question)
        for size, one in fits.items()
    }


def offered(fits, question):
    """Every student that a fit may speak of, smallest first."""
    measure = partial(footprint, format=question.format, architecture=question.architecture)
    every = [
        one
        for size, law in fits.items()
        for one in score(law, [run(size, width) for width in WIDTHS], question, measure)
        if one.reach <= (MAX_REACH if law.success else INSIDE)
    ]
    return sorted(every, key=lambda one: one.footprint.total_bytes)


def test_the_answer_is_the_smallest_student_of_any_vocabulary_that_meets_the_target(fits):
    chosen = set()
    for target in (1.9, 1.95, 2.05, 2.1, 2.2, 2.3, 2.6):
        question = ROOM.but(target_loss=target)
        everyone = offered(fits, question)
        best, *next_larger = [one for one in everyone if one.meets(question) and one.fits(question)]
        name, found = smallest_of(asked(fits, question))
        assert (found.choice.offered, name) == (best.offered, f"V{best.model.vocab_size}")
        assert [one.offered for one in found.runners_up] == [one.offered for one in next_larger[:3]]
        assert found.binding == ("smallest" if best is everyone[0] else "target")
        chosen.add(best.model.vocab_size)
    assert len(chosen) > 1


def test_what_is_printed_names_vocabularies_and_the_unit(fits, capsys):
    _, found = smallest_of(asked(fits, ROOM))
    show_recommendation(found)
    said = " ".join(capsys.readouterr().out.split())
    assert "≤ 2.1 bits/byte" in said
    assert "of 3 fits 2 answered, V = 1,024 and 4,096, each by a law of its own runs" in said
    assert " V width " in said
    assert {point.vocab_size for point in found.front} == {1024, 4096}
    assert re.search(r"bytes against loss: .* \(V 1,024\)", said)


def test_losses_of_several_vocabularies_in_nats_a_token_do_not_compare(fits):
    in_nats = {
        size: replace(one, columns={**one.columns, "loss": "loss"}) for size, one in fits.items() if size != 4096
    }
    with pytest.raises(SpecError, match="allowed are losses in bits/byte"):
        smallest_of(asked(in_nats, ROOM.but(target_loss=2.6)))
    with pytest.raises(SpecError, match="got losses in bits/byte and nats/token"):
        smallest_of(asked({**fits, 257: in_nats[257]}, ROOM.but(target_loss=2.6)))


def test_where_no_vocabulary_will_do_each_says_why(fits):
    with pytest.raises(InfeasibleError, match="no fit has an answer") as refused:
        smallest_of(asked(fits, ROOM.but(target_loss=1.0)))
    assert str(refused.value).count("bits/byte") == len(fits)
    assert all(f"  V{size}: " in str(refused.value) for size in fits)
    within = [one.expected.value for one in offered(fits, ROOM)]
    assert 1.0 < refused.value.best_loss <= min(within)


def test_a_sweep_of_several_vocabularies_is_refused_with_the_commands_that_answer():
    config = SweepConfig.model_validate({"name": "words", "base": run(257, 32).model_dump(mode="json")})
    with pytest.raises(ConfigError) as refused:
        recommended_text(config, [run(257, 32), run(1024, 32)])
    said = str(refused.value)
    assert "2 vocabularies (257, 1,024)" in said
    assert "--set name=words-257 --set 'fit.where=vocab_size == 257' --set fit.loss=bits_per_byte" in said


def test_what_rounding_adds_is_told_in_the_unit_of_the_fit():
    spec, both = run(1024, 64), [(4.0, 2.0), (None, 2.0)]
    nats = rounding_cost(spec, "Q4_0").nats
    assert times(of_a_nat(BITS, both), rounding_cost)(spec, "Q4_0").nats == pytest.approx(nats / 2)
    assert of_a_nat(BITS, []) == pytest.approx(1 / math.log(2))
    assert of_a_nat(NATS, both) == 1
