"""A world is one file and one class: here both are added from outside, and runs read it, are trained and measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field, ValidationError

from scaling.config.expand import expand
from scaling.config.sweep import SweepConfig
from scaling.data.batches import open_stream
from scaling.data.counter import random_at
from scaling.data.evaluation import evaluation_sets
from scaling.data.worlds import WORLDS, World, divergence, open_generator
from scaling.data.worlds.generator import kl_divergence, split_divergence
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import DataSpec, NgramTeacher, NoiseTeacher, RunSpec, Source, WorldSource
from scaling.train.loop import train_trunk
from tests.streams import batch_of


class CoinSource(WorldSource):
    """Tosses of a bent coin."""

    teachers: ClassVar[tuple[str, ...]] = ("noise",)

    kind: Literal["coin"]
    heads: Annotated[float, Field(gt=0, lt=1)] = 0.9

    @property
    def vocab_size(self) -> int:
        return 3

    @property
    def sequence_tokens(self) -> int:
        return 16


@dataclass(frozen=True)
class Tosses:
    heads: float
    real: float
    vocab_size: int = 3
    bos: int = 2
    context: int = 16

    @property
    def scored(self):
        return np.ones(self.context, bool)

    def sequences(self, seed, start, count):
        tosses = [random_at(seed, "coin", i).random(self.context) < self.heads for i in range(start, start + count)]
        return np.array(tosses, np.int32)

    def evaluation_sequences(self, count, seed):
        return self.sequences(seed + 1, 0, count)

    def next_token_probs(self, sequences):
        return np.broadcast_to([1 - self.heads, self.heads, 0.0], (*np.shape(sequences), 3))

    def gain(self, sequences):
        return np.full(np.shape(sequences), np.inf)

    def divergence(self):
        p, q = (np.array([[1 - heads, heads]]) for heads in (self.real, self.heads))
        return split_divergence(np.ones(1), kl_divergence(p, q), np.inf)


class CoinWorld(World):
    def __init__(self, source: CoinSource):
        self.heads = source.heads

    @property
    def entropy(self):
        p = np.array([self.heads, 1 - self.heads])
        return float(-(p * np.log(p)).sum())

    def generator(self, teacher):
        noise = teacher.rate if isinstance(teacher, NoiseTeacher) else 0.0
        return Tosses((1 - noise) * self.heads + noise / 2, self.heads)

    def backoff_probs(self, sequences):
        return np.broadcast_to([0.5, 0.5, 0.0], (*np.shape(sequences), 3))


@pytest.fixture(autouse=True)
def _coin(monkeypatch):
    """The class and the file, as another package's entry points would add them, for one test."""
    for registry, entry in ((Source.kinds, CoinSource), (WORLDS, CoinWorld)):
        monkeypatch.setattr(registry, "_entries", {**dict(registry), "coin": entry})


NOISE = {"kind": "noise", "rate": 0.2}


def a_run(**data) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 3, "width": 32, "n_layers": 1, "context": 16},
            "data": {"source": {"kind": "coin"}, **data},
            "optim": {"batch_size": 8, "lr": 0.01},
            "evaluation": {"tokens": 1600},
            "tokens": 8 * 16 * 12,
        }
    )


@pytest.mark.parametrize("teacher", [{"kind": "real"}, NOISE, {"kind": "mixture", "real": 0.5, "teacher": NOISE}])
def test_a_run_of_a_world_from_outside_is_read_and_measured_exactly(tmp_path, teacher):
    spec, store = a_run(teacher=teacher), RunStore(tmp_path)
    assert RunSpec.model_validate_json(spec.canonical_json()).run_id == spec.run_id
    stream = open_stream(spec, store)
    assert np.array_equal(stream.batches(0, 4).targets[2], batch_of(stream, 2).targets)
    sets = evaluation_sets(spec, store)
    assert sets.entropy == pytest.approx(0.3251, abs=1e-4)
    exact = divergence(spec.data.source, spec.data.teacher)
    # The divergence of a mixture is averaged over 4,096 sequences, on this set over 100: three of its standard errors.
    assert sets.delta_coverage + sets.delta_noise == pytest.approx(exact.total, abs=20 * exact.se + 1e-9)
    assert exact.total == 0 if teacher["kind"] == "real" else 0 < exact.total < 0.05


@pytest.mark.slow
def test_a_student_of_a_world_from_outside_is_trained_and_its_loss_is_exact(tmp_path):
    store = RunStore(tmp_path).prepare()
    (record,) = train_trunk([a_run(teacher=NOISE)], store)
    outcome = record.outcome
    assert outcome.status == "done"
    assert 0.325 < outcome.loss < np.log(3)
    terms = outcome.entropy + outcome.delta_noise + outcome.delta_coverage + outcome.kl_student + outcome.cross_term
    assert outcome.loss == pytest.approx(terms, abs=1e-4)


def test_a_sweep_of_a_world_from_outside_takes_vocabulary_and_context_from_it():
    sweep = SweepConfig.model_validate(
        {"name": "x", "base": {"model": {"width": 32}, "data": {"source": {"kind": "coin"}}, "tokens": 1000}}
    )
    (run,) = expand(sweep)
    assert (run.model.vocab_size, run.model.context, run.data.label) == (3, 16, "real")


def test_a_teacher_that_a_world_does_not_have_is_refused_by_its_specification_and_by_the_world():
    with pytest.raises(ValidationError, match="temperature teacher cannot speak for source coin; allowed: .*noise"):
        a_run(teacher={"kind": "temperature", "temperature": 2.0})
    facts = Source.model_validate({"kind": "w0"})
    with pytest.raises(DataError, match="W0 has no generator of a ngram teacher"):
        open_generator(facts, NgramTeacher(kind="ngram"))


def test_a_kind_that_nobody_has_added_is_refused_with_those_there_are():
    with pytest.raises(ValidationError, match="Input tag 'w9' .* does not match .*'w0', 'w1', 'w2', 'text', .*'coin'"):
        DataSpec.model_validate({"source": {"kind": "w9"}})
