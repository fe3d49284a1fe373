"""Recipes of two vocabularies: formulas against a second implementation, stages, refusals, and runs trained by them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from scaling.accounting import forward_flops
from scaling.records import RunStore
from scaling.spec import ModelSpec, RunSpec, TokenTargets
from scaling.train.distill.dual_vocab import AXES, projection_loss
from scaling.train.distill.recipe import Moment, recipe_of
from scaling.train.distill.vocabularies import LearningTeacher, loss_of_its_vocabulary
from scaling.train.loop import train_trunk
from scaling.train.optimizer import rate_factors
from scaling.train.step import LATE, params_of
from scaling.train.student.model import Student

RNG = np.random.default_rng(5)
TEACHER = ModelSpec(vocab_size=300, width=64, n_layers=2, context=16)
STUDENT = ModelSpec(vocab_size=257, width=32, n_layers=1, context=16)

pytestmark = pytest.mark.usefixtures("small_decoder")


def complex_step(plain, own):
    """Gradient of a plain implementation, exact to rounding: float64, the shape of ``own``."""
    by_step = np.zeros(own.shape)
    for i in np.ndindex(own.shape):
        moved = own.astype(complex)
        moved[i] += 1e-30j
        by_step[i] = np.imag(plain(moved)) / 1e-30
    return by_step


def plain_mixed(logits, tokens, n_first):
    total = 0.0
    for row, token in zip(logits.reshape(-1, logits.shape[-1]), tokens.ravel(), strict=True):
        own = row[:n_first] if token < n_first else row[n_first:]
        total = total + np.log(np.exp(own).sum()) - row[token]
    return total / tokens.size


def test_a_token_of_two_vocabularies_is_scored_among_its_own():
    logits, tokens = RNG.normal(size=(2, 3, 7)), np.array([[0, 3, 4], [6, 2, 5]])
    with jax.enable_x64(True):
        ours = jax.jit(jax.value_and_grad(lambda x: loss_of_its_vocabulary(x, tokens, 4)))
        value, gradient = (np.asarray(part) for part in ours(jnp.asarray(logits)))
    assert float(value) == pytest.approx(plain_mixed(logits, tokens, 4), rel=1e-6)
    expected = complex_step(lambda x: plain_mixed(x, tokens, 4), logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-12)


def weights(n_layers, sizes, vocab_size):
    blocks = {
        i: {name: RNG.normal(size=(sizes[rows], sizes[columns])) for name, (rows, columns) in AXES.items()}
        for i in range(n_layers)
    }
    return {"blocks": blocks, "token_embd": RNG.normal(size=(vocab_size, sizes["width"]))}


LARGE = {"width": 4, "qkv": 5, "heads": 3, "gate_up": 6, "hidden": 4}
SMALL = {"width": 2, "qkv": 3, "heads": 2, "gate_up": 2, "hidden": 3}


def plain_projection(teacher, student, maps):
    """Student's layer 0 stands for the teacher's 0 and 1, layer 1 for its 2 and 3: the last of each is compared."""
    pairs = [(teacher["token_embd"], student["token_embd"] @ maps["width"].T)]
    for own, theirs in ((0, 1), (1, 3)):
        for name, (rows, columns) in AXES.items():
            up = np.einsum("ij,jk,lk->il", maps[rows], student["blocks"][own][name], maps[columns])
            pairs.append((teacher["blocks"][theirs][name], up))
    return sum(((t - s) ** 2).sum() / (t**2).sum() for t, s in pairs) / len(pairs)


@pytest.mark.parametrize("of", ["teacher", "student", "projection"])
def test_weights_are_held_together_by_projections_that_all_layers_share(of):
    teacher, student = weights(4, LARGE, 6), weights(2, SMALL, 6)
    maps = {axis: RNG.normal(size=(size, SMALL[axis])) for axis, size in LARGE.items()}

    def with_one(x):
        """The three, with one array of one of them replaced."""
        theirs, own, between = teacher, student, maps
        if of == "teacher":
            theirs = {**teacher, "blocks": {**teacher["blocks"], 3: {**teacher["blocks"][3], "ffn_down": x}}}
        elif of == "student":
            own = {**student, "token_embd": x}
        else:
            between = {**maps, "width": x}
        return theirs, own, between

    at = {"teacher": teacher["blocks"][3]["ffn_down"], "student": student["token_embd"], "projection": maps["width"]}
    with jax.enable_x64(True):
        ours = jax.jit(jax.value_and_grad(lambda x: projection_loss(*with_one(x), every=2)))
        value, gradient = (np.asarray(part) for part in ours(jnp.asarray(at[of])))
    assert float(value) == pytest.approx(plain_projection(teacher, student, maps), rel=1e-6)
    expected = complex_step(lambda x: plain_projection(*with_one(x)), at[of])
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-12)


def test_a_teacher_moves_at_the_rate_of_its_own_shape():
    teacher = LearningTeacher(Student(TEACHER, seed=1), STUDENT)
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), teacher.params)
    factors, theirs = rate_factors(STUDENT), rate_factors(TEACHER)
    after, before = jax.device_get((jax.jit(teacher.at)(ones), teacher.params))
    moved = jax.tree.map(lambda one, other: np.mean(one - other), after, before)
    # What a student's rate makes of one step of Adam on each tensor, beside that of a training of the teacher alone.
    for name, found in moved["blocks"][1].items():
        assert found * factors[name] == pytest.approx(0.5 * theirs[name], rel=1e-3)
    assert moved["token_embd"] * factors["token_embd"] == pytest.approx(0.5 * theirs["token_embd"], rel=1e-3)


def recipe(spec: dict):
    run = run_of(spec)
    return recipe_of(run.recipe, TokenTargets(), Student(TEACHER, seed=1))


@pytest.mark.slow
def test_the_small_table_is_learned_inside_the_teacher_first_and_the_student_alone_then():
    mixed_vocab = recipe({"kind": "mixed_vocab", "first_stage_tokens": 64})
    student = Student(STUDENT, seed=2)
    adapters = mixed_vocab.adapters(student, jax.random.key(0))
    tokens = RNG.integers(257, size=(2, 16)).astype(np.int32)
    mixed = np.where(np.arange(16) % 3 == 0, tokens + 300, tokens)
    targets = {"token": tokens, "mixed": mixed}
    both = np.concatenate([params_of(mixed_vocab.teacher)["token_embd"], student.token_embd[...] @ adapters["up"]])
    wide = Student(TEACHER.model_copy(update={"vocab_size": 557}), seed=1)
    wide.token_embd[...] = jnp.asarray(both)
    for ours, theirs in zip(wide.blocks, mixed_vocab.teacher.blocks, strict=True):
        for name in ("attn_qkv", "attn_output", "ffn_gate_up", "ffn_down"):
            getattr(ours, name)[...] = getattr(theirs, name)[...]
    inputs = np.concatenate([np.full((2, 1), 299), mixed[:, :-1]], axis=1)
    aligned = plain_mixed(np.asarray(jax.jit(lambda: wide(inputs))(), float), mixed, 300)
    losses = jax.jit(lambda step: mixed_vocab.losses(student, tokens, targets, Moment(step, adapters))[:2])
    (first, _), (second, alone) = losses(1), losses(2)
    assert float(first) == pytest.approx(aligned, rel=1e-5)
    assert float(second) == float(alone)
    assert mixed_vocab.spec.stage_steps(tokens.size) == 2
    # Counted in tokens, these steps are more than 32 bits hold.
    assert [float(losses(step)[0]) for step in (2**26, 2**27, LATE)] == [float(alone)] * 3


def test_in_dual_training_a_word_of_both_vocabularies_begins_alike():
    dual_vocab = recipe({"kind": "dual_vocab"})
    adapters = dual_vocab.adapters(Student(STUDENT, seed=2), jax.random.key(0))
    theirs = np.asarray(dual_vocab.teacher.token_embd[...])
    np.testing.assert_array_equal(adapters["token_embd"], theirs[[*range(256), 299]])


def run_of(
    distill: dict | None,
    *,
    texts="*.txt",
    student=STUDENT,
    teacher=TEACHER,
    corpus=None,
    real_share=None,
    batch_size=4,
    **data,
) -> RunSpec:
    source = {"kind": "text", "corpus": texts, "tokenizer": {"kind": "bpe", "vocab_size": teacher.vocab_size}}
    optim = {"batch_size": batch_size, "warmup_tokens": 640, "lr": 1e-2}
    settings = {"optim": optim, "evaluation": {"tokens": 600}}
    run = settings | {"model": teacher.model_dump(), "data": {"source": source}, "tokens": 3_000}
    cut = {"kind": "bytes"} if student.vocab_size == 257 else {"kind": "bpe", "vocab_size": student.vocab_size}
    own = {"source": source | {"tokenizer": cut, "corpus": corpus or texts}}
    trained = {"kind": "trained", "run": run}
    own |= {"teacher": {"kind": "mixture", "real": real_share, "teacher": trained} if real_share else trained} | data
    chosen = {} if distill is None else {"distill": distill}
    return RunSpec.model_validate(settings | {"model": student.model_dump(), "data": own, "tokens": 6_400} | chosen)


@pytest.mark.parametrize(
    ("distill", "changed", "said"),
    [
        ({"kind": "soft"}, {}, "the teacher has 300 tokens, the student 257; .* sequence, dual_vocab, mixed_vocab"),
        ({"kind": "dual_vocab"}, {"student": {"vocab_size": 300}}, "both have 300; lower data.source.tokenizer"),
        (None, {"student": {"vocab_size": 400}}, r"writes tokens of .* by bpe 300, the student reads .* by bpe 400"),
        (None, {"corpus": "other/*.txt"}, "or bytes, of the same corpus"),
        (None, {"targets": {"kind": "topk", "k": 4}}, "other tokens than its student has tokens for targets only"),
        ({"kind": "dual_vocab"}, {"teacher": {"n_layers": 3}, "student": {"n_layers": 2}}, "do not divide"),
        ({"kind": "mixed_vocab", "first_stage_tokens": 9}, {"teacher": {"tied_embeddings": False}}, "teacher has two"),
    ],
)
def test_a_pair_of_vocabularies_that_a_recipe_has_no_use_for_is_refused(distill, changed, said):
    models = {"student": STUDENT, "teacher": TEACHER}
    for name in models.keys() & changed.keys():
        changed = changed | {name: models[name].model_copy(update=changed[name])}
    with pytest.raises(ValidationError, match=said):
        run_of(distill, **changed)


def test_a_mixture_has_sequences_that_no_teacher_wrote():
    with pytest.raises(ValidationError, match=r"0.5 of these are real"):
        run_of({"kind": "dual_vocab"}, real_share=0.5)


WORDS = ("Peace and revenue", "of the states", "and the nation,")


@pytest.mark.slow
def test_students_of_few_tokens_learn_from_a_teacher_of_many(tmp_path):
    from scaling.teach.teachers import prepare

    for i in range(8):
        words = " ".join(WORDS[j] for j in RNG.integers(3, size=99))
        (tmp_path / f"{i}.txt").write_text(f"Fellow citizens of the Senate, message {i}: {words}.", "utf-8")
    store, teacher = RunStore(tmp_path / "results"), TEACHER.model_copy(update={"n_layers": 1})
    shared = {"texts": str(tmp_path / "*.txt"), "teacher": teacher, "batch_size": 1}
    mixed = run_of({"kind": "mixed_vocab", "first_stage_tokens": 1_000}, **shared)
    dual = run_of({"kind": "dual_vocab"}, **shared)
    prepare([mixed, dual], store)
    flops = forward_flops(teacher) * mixed.n_tokens
    for run, passes in ((mixed, 1 + 3 * 1_000 / mixed.n_tokens), (dual, 4)):
        (record,) = train_trunk([run], store)
        assert record.outcome.status == "done", record.outcome.error
        # A token is a byte here.
        assert record.outcome.bits_per_byte == pytest.approx(record.outcome.loss / np.log(2), rel=1e-6)
        assert record.outcome.loss < np.log(257) - 1
        assert record.row()["teacher_flops"] == pytest.approx(passes * flops)
