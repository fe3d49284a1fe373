"""Pruning and healing: what does nothing is found and left out without a trace; healing brings losses back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.accounting import tensor_shapes
from scaling.compress import importance as importance_module
from scaling.compress.heal import heal
from scaling.compress.importance import block_influence, head_importance, neuron_importance
from scaling.compress.prune import keep_heads, keep_layers, keep_neurons
from scaling.compress.sparse import Sparsity, masks
from scaling.errors import SpecError
from scaling.spec import ModelSpec, OptimSpec
from scaling.train import evaluate
from scaling.train.step import params_of, with_params
from scaling.train.student.generator import log_probabilities
from scaling.train.student.model import Student, from_tensors, to_tensors

MODEL = ModelSpec(vocab_size=65, width=32, n_layers=2, n_heads=8, n_kv_heads=4, hidden=64, context=12)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(65, size=(4, 12)).astype(np.int32)


@pytest.fixture(scope="module")
def idle() -> Student:
    """Key–value heads 1 and 2, every second neuron, and layer 1 say nothing."""
    tensors = to_tensors(Student(MODEL, seed=1))
    for i in range(2):
        tensors[f"blk.{i}.attn_output.weight"][:, 2 * 16 : 6 * 16] = 0
        tensors[f"blk.{i}.ffn_down.weight"][:, ::2] = 0
    for name in ("attn_output", "ffn_down"):
        tensors[f"blk.1.{name}.weight"][:] = 0
    return from_tensors(MODEL, tensors)


def logits(student: Student) -> np.ndarray:
    return np.asarray(log_probabilities(student.model)(params_of(student), TOKENS))


def test_heads_neurons_and_layers_that_say_nothing_are_left_out_without_a_trace(idle):
    left = keep_layers(idle, block_influence(idle, TOKENS), 1)
    # Without the layer that says nothing at all, where no head is more important than another.
    left = keep_heads(left, head_importance(left, TOKENS, np.roll(TOKENS, -1, axis=1)), 2)
    left = keep_neurons(left, neuron_importance(left, TOKENS), 32)
    assert (left.model.n_layers, left.model.n_heads, left.model.n_kv_heads, left.model.hidden) == (1, 4, 2, 32)
    assert {name: tensor.shape for name, tensor in to_tensors(left).items()} == tensor_shapes(left.model)
    np.testing.assert_allclose(logits(left), logits(idle), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "importance",
    [
        neuron_importance,
        block_influence,
        lambda student, tokens: head_importance(student, tokens, np.roll(tokens, -1, axis=1)),
    ],
)
def test_what_matters_does_not_depend_on_how_many_sequences_fit_memory(importance, monkeypatch):
    student, parts = Student(MODEL, seed=1), []
    whole = importance(student, TOKENS)

    def parts_in_memory(*sizes):
        parts.extend(evaluate.parts_in_memory(*sizes))
        return parts

    monkeypatch.setattr(importance_module, "parts_in_memory", parts_in_memory)
    # Room for three of four sequences: two equal parts.
    monkeypatch.setattr(evaluate, "LOGITS_BYTES", 3 * 4 * 12 * (65 + 2 * (8 * (12 + 4) + 3 * 64 + 4 * 32)))
    np.testing.assert_allclose(importance(student, TOKENS), whole, rtol=1e-5, atol=1e-6)
    assert parts == [slice(0, 2), slice(2, 4)]


def test_sizes_that_no_student_has_are_refused(idle):
    importance = np.ones((2, 64))
    with pytest.raises(SpecError, match="got neurons=96 of 64, which cannot be kept, allowed is 32 — keep fewer"):
        keep_neurons(idle, importance, 96)
    with pytest.raises(
        SpecError,
        match=r"got neurons=40, of which no student is made \(Input should be a multiple of 32\) — keep another number",
    ):
        keep_neurons(idle, importance, 40)
    with pytest.raises(SpecError, match="got layers=0 of 2, which cannot be kept"):
        keep_layers(idle, np.ones(2), 0)


def test_what_leaves_nothing_out_is_refused_with_what_can_be_kept(idle):
    said = "got {}, which leaves nothing out, allowed is {} — keep fewer, or say nothing of {}"
    with pytest.raises(SpecError, match=said.format("heads=4 of 4", "1 to 3", "heads")):
        keep_heads(idle, np.ones((2, 8)), 4)
    with pytest.raises(SpecError, match=said.format("neurons=64 of 64", "32", "neurons")):
        keep_neurons(idle, np.ones((2, 64)), 64)
    with pytest.raises(SpecError, match=said.format("layers=2 of 2", "1", "layers")):
        keep_layers(idle, np.ones(2), 2)


def test_the_least_weights_of_all_blocks_together_go_and_tables_stay():
    params = params_of(Student(MODEL))
    kept = masks(params, 0.75)
    thinned = [mask for block in kept["blocks"].values() for mask in block.values() if mask.ndim == 2]
    assert sum(int((mask == 0).sum()) for mask in thinned) == round(0.75 * sum(mask.size for mask in thinned))
    assert kept["token_embd"].all()
    assert kept["blocks"][0]["attn_norm"].all()


def test_zeros_grow_as_a_cube_and_then_stay():
    found = [Sparsity(zeros=0.8, begin=0.2, end=0.6).share(progress) for progress in (0.0, 0.2, 0.4, 0.6, 1.0)]
    assert found == pytest.approx([0.0, 0.0, 0.8 * (1 - 0.5**3), 0.8, 0.8])


@pytest.mark.slow
@pytest.mark.parametrize("by", ["magnitude", "movement"])
def test_zeros_that_come_while_a_student_heals_cost_less_than_those_that_come_at_once(by):
    teacher = Student(MODEL, seed=2)
    params = params_of(teacher)
    at_once = with_params(MODEL, jax.tree.map(jnp.multiply, params, masks(params, 0.6)))
    batches = RNG.integers(65, size=(64, 8, 12)).astype(np.int32)
    optim = OptimSpec(lr=3e-3, batch_size=8)
    healed = heal(teacher, teacher, batches, optim=optim, steps=64, sparsity=Sparsity(zeros=0.6, by=by))
    matrices = [w.ravel() for w in to_tensors(healed).values() if w.ndim == 2]
    assert np.mean(np.concatenate(matrices[1:]) == 0) == pytest.approx(0.6, abs=1e-3)  # the first is the token table
    whole = logits(teacher)
    assert np.abs(logits(healed) - whole).mean() < np.abs(logits(at_once) - whole).mean()
