"""What is asked which parts matter, and what heals: the run's own text, whatever is told beside it, however long."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.compress import pruning
from scaling.compress.pruning import Pruning
from scaling.data.batches import open_stream
from scaling.records import RunStore
from scaling.spec import DataSpec, EvalSpec, ModelSpec, OptimSpec, RunSpec, Targets
from scaling.teach.teachers import prepare
from scaling.train.checkpoint import save_student
from scaling.train.student.generator import BLOCK
from scaling.train.student.model import Student

SOFT = {
    "sampled": {"kind": "sampled"},
    "topk": {"kind": "topk", "k": 4},
    "tokens": {"kind": "tokens"},
    "exact": {"kind": "exact"},
}


def saved(store: RunStore, data: dict, **changed) -> RunSpec:
    """A run whose student lies in the store and has learned nothing."""
    spec = RunSpec(
        model=ModelSpec(vocab_size=65, width=32, n_layers=1, n_heads=2, head_width=32, context=40),
        data=DataSpec.model_validate(data),
        optim=OptimSpec(batch_size=2),
        evaluation=EvalSpec(tokens=400),
        tokens=400,
    )
    spec = RunSpec.model_validate(spec.model_dump() | changed)
    store.run_dir(spec.run_id).mkdir(parents=True)
    save_student(store.student_dir(spec.run_id), Student(spec.model))
    return spec


@pytest.mark.parametrize("kind", sorted(Targets.kinds))
def test_what_is_told_beside_the_tokens_is_nothing_to_pruning(kind, tmp_path):
    store = RunStore(tmp_path).prepare()
    run = saved(store, {"source": {"kind": "w0"}, "targets": SOFT[kind]})
    inputs, targets = Pruning(run, store).seen
    # A run of 5 steps is asked no more than it has read.
    assert inputs.shape == targets.shape == (5 * 2, 40)
    assert targets.dtype.names is None
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])


def test_heads_of_a_student_of_soft_targets_are_left_out(tmp_path):
    store = RunStore(tmp_path).prepare()
    run = saved(store, {"source": {"kind": "w0"}, "targets": SOFT["sampled"]})
    assert Pruning(run, store).cut({"heads": 1}).model.n_heads == 1


@pytest.mark.parametrize("steps", [3, 40])
def test_healing_reads_on_in_a_text_that_ends_with_the_run(steps, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(8):
        words = " ".join(rng.choice(["peace", "and", "revenue", "of", "states"], size=99))
        (tmp_path / f"{i}.txt").write_text(f"Message {i}: {words}.\n", "utf-8")
    source = {"kind": "text", "corpus": str(tmp_path / "*.txt"), "tokenizer": {"kind": "bytes"}}
    model = {"vocab_size": 257, "width": 32, "n_layers": 1, "context": 16}
    store = RunStore(tmp_path / "results").prepare()
    run = saved(
        store,
        {"source": source, "teacher": {"kind": "ngram", "order": 2}},
        model=model,
        optim={"batch_size": 32},
        tokens=BLOCK * 16,
    )
    prepare([run], store)
    monkeypatch.setattr(pruning, "heal", lambda cut, whole, batches, *, optim, steps: list(batches))
    half = Pruning(run, store)
    read = half.healed(half.student, steps * run.step_tokens)
    whole = open_stream(run, store).batches(0, run.steps + steps).inputs
    np.testing.assert_array_equal(read, whole[run.steps :])
