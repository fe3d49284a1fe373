"""The student: what it computes, what it is called in a GGUF file, and its cached decode path."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from flax import nnx

from scaling.accounting import count_parameters, tensor_shapes
from scaling.errors import TrainError
from scaling.spec import ModelSpec
from scaling.train.student.model import Student, empty_cache, from_tensors, rope_table, to_tensors
from tests.students import logits_of

SMALL = ModelSpec(vocab_size=65, width=64, n_heads=4, n_kv_heads=2, n_layers=2, context=24)

extend = nnx.jit(lambda student, tokens, cache: student.extend(tokens, cache))


def tokens_of(model: ModelSpec, batch: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, model.vocab_size, (batch, model.context), dtype=np.int32)


@pytest.mark.parametrize(
    ("width", "n_layers", "kv", "tied"), list(itertools.product((32, 96, 128), (1, 3), ("all", 1), (True, False)))
)
def test_the_model_has_the_parameters_that_accounting_counts(width, n_layers, kv, tied):
    sizes = {} if kv == "all" else {"n_kv_heads": kv}
    model = ModelSpec(vocab_size=77, width=width, n_layers=n_layers, tied_embeddings=tied, **sizes)
    student = nnx.eval_shape(lambda: Student(model))
    held = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(student, nnx.Param)))
    written = sum(int(np.prod(shape)) for shape in tensor_shapes(model).values())
    assert held == written == count_parameters(model).n_params_total


@pytest.mark.parametrize("tied", [True, False])
def test_tensors_read_back_are_the_same_student(tied):
    model = SMALL.model_copy(update={"tied_embeddings": tied})
    student = Student(model, seed=3)
    tensors = to_tensors(student)
    again = from_tensors(model, tensors)
    assert {name: part.shape for name, part in tensors.items()} == tensor_shapes(model)
    np.testing.assert_array_equal(logits_of(student, tokens_of(model)), logits_of(again, tokens_of(model)))
    for name, part in to_tensors(again).items():
        np.testing.assert_array_equal(part, tensors[name])


def test_tensors_of_another_model_are_refused_by_name():
    tensors = to_tensors(Student(SMALL))
    del tensors["output_norm.weight"]
    with pytest.raises(TrainError, match=r"output_norm\.weight is absent, not \(64,\)"):
        from_tensors(SMALL, tensors)


def test_tensors_compute_what_the_llama_equations_say():
    """The exported tensors, put through the equations written out in float64 NumPy, give the student's logits."""
    student = Student(SMALL, seed=1)
    tokens = tokens_of(SMALL)
    np.testing.assert_allclose(logits_of(student, tokens), llama(SMALL, to_tensors(student), tokens), atol=2e-5)


def llama(model: ModelSpec, tensors: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    w = {name.removesuffix(".weight"): part.astype(np.float64) for name, part in tensors.items()}

    def norm(x, gain):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + model.norm_eps) * gain

    def rotate(x, position):
        angle = position * model.rope_base ** (-np.arange(0, model.head_width, 2) / model.head_width)
        return np.stack([(pair := x.reshape(-1, 2))[:, 0] * np.cos(angle) - pair[:, 1] * np.sin(angle),
                         pair[:, 0] * np.sin(angle) + pair[:, 1] * np.cos(angle)], axis=1).reshape(-1)  # fmt: skip

    def attend(x, i):
        heads = [x @ w[f"blk.{i}.attn_{name}"].T for name in "qkv"]
        out = np.zeros((len(x), model.n_heads * model.head_width))
        for head in range(model.n_heads):
            group = head // (model.n_heads // model.n_kv_heads)
            at, from_ = (slice(n * model.head_width, (n + 1) * model.head_width) for n in (head, group))
            q = [rotate(row[at], t) for t, row in enumerate(heads[0])]
            k = [rotate(row[from_], t) for t, row in enumerate(heads[1])]
            for t in range(len(x)):
                scores = np.array([q[t] @ k[s] for s in range(t + 1)]) / np.sqrt(model.head_width)
                weights = np.exp(scores - scores.max())
                out[t, at] = weights / weights.sum() @ heads[2][: t + 1, from_]
        return out @ w[f"blk.{i}.attn_output"].T

    logits = []
    for row in tokens:
        x = w["token_embd"][row]
        for i in range(model.n_layers):
            x = x + attend(norm(x, w[f"blk.{i}.attn_norm"]), i)
            y = norm(x, w[f"blk.{i}.ffn_norm"])
            gate = y @ w[f"blk.{i}.ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (y @ w[f"blk.{i}.ffn_up"].T)) @ w[f"blk.{i}.ffn_down"].T
        logits.append(norm(x, w["output_norm"]) @ w["token_embd"].T)
    return np.stack(logits)


@pytest.mark.parametrize("at", [1, 10, 23])
def test_a_token_changes_no_logit_before_it(at):
    student, tokens = Student(SMALL), tokens_of(SMALL)
    changed = tokens.copy()
    changed[:, at] = (changed[:, at] + 1) % SMALL.vocab_size
    before, after = logits_of(student, tokens), logits_of(student, changed)
    np.testing.assert_array_equal(before[:, :at], after[:, :at])
    assert np.abs(before[:, at:] - after[:, at:]).max() > 1e-3


@pytest.mark.parametrize("prompt", [1, 7])
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_sequence(prompt):
    student, tokens = Student(SMALL), tokens_of(SMALL)
    logits, cache = extend(student, tokens[:, :prompt], empty_cache(SMALL, len(tokens)))
    found = [logits]
    for t in range(prompt, SMALL.context):
        logits, cache = extend(student, tokens[:, t : t + 1], cache)
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found, axis=1), logits_of(student, tokens), atol=2e-5)
    assert int(cache.length) == SMALL.context


def test_scores_depend_on_the_distance_of_tokens_alone():
    """Rotations by RoPE leave the product of a query and a key a function of their distance."""
    cos, sin = rope_table(SMALL, 30)
    turn = cos + 1j * sin
    products = turn[:, None] * turn[None].conj()
    for distance in (1, 5, 20):
        diagonal = np.stack([products[t + distance, t] for t in range(30 - distance)])
        np.testing.assert_allclose(diagonal, np.broadcast_to(diagonal[0], diagonal.shape), atol=1e-6)


def test_the_same_seed_is_the_same_student_and_another_seed_another():
    first, again, other = (to_tensors(Student(SMALL, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["blk.1.ffn_up.weight"], again["blk.1.ffn_up.weight"])
    assert np.abs(first["blk.1.ffn_up.weight"] - other["blk.1.ffn_up.weight"]).max() > 0.01
