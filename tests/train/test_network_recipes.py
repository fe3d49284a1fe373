"""Recipes that look into the teacher: formulas against a second implementation, and runs that are trained by them."""

from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from scaling.errors import TrainError
from scaling.records import RunStore
from scaling.spec import (
    DistilbertDistill,
    DualVocabDistill,
    LogitDistill,
    MinilmDistill,
    MixedVocabDistill,
    ModelSpec,
    OnPolicyDistill,
    OptimSpec,
    RunSpec,
    SampledTargets,
    SequenceDistill,
    SoftDistill,
    TinybertDistill,
    TokenTargets,
)
from scaling.train.checkpoint import load_student
from scaling.train.clock import Meter
from scaling.train.distill.distilbert import cosine
from scaling.train.distill.features import causal_mean, features, relation_loss, relative_error
from scaling.train.distill.minilm import value_relations
from scaling.train.distill.on_policy import divergence, own_text
from scaling.train.distill.recipe import RECIPES, Moment, recipe_of
from scaling.train.distill.soft import distribution_loss
from scaling.train.loop import train_trunk
from scaling.train.mesh import ONE_DEVICE
from scaling.train.step import LATE, program
from scaling.train.student.model import Student, to_tensors
from scaling.train.trunk import TrunkTraining

RNG = np.random.default_rng(7)
TEACHER = ModelSpec(vocab_size=65, width=64, n_layers=4, context=8, n_heads=2)
STUDENT = ModelSpec(vocab_size=65, width=32, n_layers=2, context=8, n_heads=2)
SMALL_TEACHER, SMALL = (ModelSpec(vocab_size=65, width=32, n_layers=n, context=8, n_heads=2) for n in (2, 1))
WORLD = {"kind": "w0", "n_records": 1}

pytestmark = pytest.mark.usefixtures("small_decoder")


# A second implementation: plain loops or sums over float64, which a complex step differentiates exactly.


def softmax(x):
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def plain_distribution(taught, own, temperature):
    q, f = softmax(taught / temperature), softmax(own / temperature)
    return temperature**2 * -(q * np.log(f)).sum(-1).mean()


def plain_relation(taught, own):
    total = 0.0
    for p_row, q_row in zip(taught.reshape(-1, *taught.shape[-2:]), own.reshape(-1, *own.shape[-2:]), strict=True):
        for t in range(p_row.shape[0]):
            p, q = softmax(p_row[t, : t + 1]), softmax(q_row[t, : t + 1])
            total = total + (p * np.log(p / q)).sum()
    return total / np.prod(taught.shape[:-1])


def plain_scores(taught, own):
    t, s = np.tril_indices(own.shape[-1])
    return ((own - taught)[..., t, s] ** 2).mean()


def plain_error(taught, own):
    return ((own - taught) ** 2).sum() / (taught**2).sum()


def plain_cosine(taught, own):
    norms = np.sqrt((own**2).sum(-1)) * np.sqrt((taught**2).sum(-1))
    return ((own * taught).sum(-1) / norms).mean()


def plain_divergence(taught, own, beta):
    q, f = softmax(taught), softmax(own)
    m = beta * q + (1 - beta) * f
    apart = {0.0: lambda: q * np.log(q / f), 1.0: lambda: f * np.log(f / q)}
    between = lambda: beta * q * np.log(q / m) + (1 - beta) * f * np.log(f / m)  # noqa: E731
    return apart.get(beta, between)().sum(-1).mean()


def plain_values(taught, own):
    k = own.shape[-1]
    relations = [(x @ np.swapaxes(x, -1, -2)) / np.sqrt(k) for x in (taught, own)]
    return plain_relation(*relations)


LOSSES = {
    "distribution": (
        (2, 3, 5),
        lambda t, s: plain_distribution(t, s, 2.0),
        lambda t, s: distribution_loss(t, s, 2.0),
    ),
    **{
        f"divergence {beta}": (
            (2, 3, 5),
            lambda t, s, beta=beta: plain_divergence(t, s, beta),
            lambda t, s, beta=beta: divergence(t, s, beta),
        )
        for beta in (0.0, 0.3, 1.0)
    },
    "attention": ((1, 2, 4, 4), plain_relation, relation_loss),
    "scores": ((1, 2, 4, 4), plain_scores, lambda t, s: causal_mean((s - t) ** 2)),
    "states": ((2, 3, 4), plain_error, lambda t, s: relative_error(s, t)),
    "direction": ((2, 3, 4), plain_cosine, lambda t, s: jnp.mean(cosine(s, t))),
    "values": ((1, 2, 4, 3), plain_values, lambda t, s: relation_loss(value_relations(t), value_relations(s))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_are_those_of_a_second_implementation(name):
    shape, plain, ours = LOSSES[name]
    taught, own = RNG.normal(size=(2, *shape))
    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(ours, argnums=1))(jnp.asarray(taught), jnp.asarray(own))
        value, gradient = float(value), np.asarray(gradient)
    assert value == pytest.approx(float(plain(taught, own)), rel=1e-6)
    by_step = np.zeros(shape)
    for i in np.ndindex(shape):
        moved = own.astype(complex)
        moved[i] += 1e-30j
        by_step[i] = np.imag(plain(taught, moved)) / 1e-30
    np.testing.assert_allclose(gradient, by_step, rtol=1e-6, atol=1e-12)


def test_a_relation_to_itself_costs_nothing_and_what_is_not_seen_does_not_count():
    scores = RNG.normal(size=(1, 2, 4, 4))
    hidden = scores + 100 * np.triu(np.ones((4, 4)), 1)
    assert float(relation_loss(scores, hidden)) == pytest.approx(0, abs=1e-6)
    assert float(causal_mean((scores - hidden) ** 2)) == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_features_are_read_on_the_way_to_the_same_logits():
    model = ModelSpec(vocab_size=65, width=64, n_layers=2, context=8, n_heads=4, n_kv_heads=2)
    student, tokens = Student(model, seed=3), RNG.integers(65, size=(2, 8)).astype(np.int32)
    found, logits_BTV = jax.jit(lambda: (features(student, tokens), student(tokens)))()
    np.testing.assert_allclose(found.logits_BTV, logits_BTV, atol=1e-5)
    assert [len(part) for part in (found.hidden_BTM, found.scores_BHTS, found.values_BJTK)] == [2, 2, 2]
    # From scores and values follows what attention mixes, and from that the next state of the stream.
    seen = np.tril(np.ones((8, 8), bool))
    weights = softmax(np.where(seen, np.asarray(found.scores_BHTS[0], np.float64), -1e30))
    mixed = weights @ np.repeat(np.asarray(found.values_BJTK[0]), 2, axis=1)
    added = mixed.swapaxes(1, 2).reshape(2, 8, -1) @ np.asarray(student.blocks[0].attn_output[...])
    x = np.asarray(found.embedding_BTM) + added
    normed = x / np.sqrt((x**2).mean(-1, keepdims=True) + model.norm_eps)
    gate, up = np.split(normed @ np.asarray(student.blocks[0].ffn_gate_up[...]), 2, axis=-1)
    x = x + (gate / (1 + np.exp(-gate)) * up) @ np.asarray(student.blocks[0].ffn_down[...])
    np.testing.assert_allclose(found.hidden_BTM[0], x, atol=1e-4)


def test_distilbert_starts_from_every_second_layer_of_its_teacher():
    teacher, shallow = Student(TEACHER, seed=1), TEACHER.model_copy(update={"n_layers": 2})
    spec = run_of({"kind": "distilbert"}, model=shallow).recipe
    started = to_tensors(recipe_of(spec, TokenTargets(), teacher).start(Student(shallow, seed=2)))
    theirs = to_tensors(teacher)
    for name, tensor in started.items():
        own = name.replace("blk.1.", "blk.2.")
        np.testing.assert_array_equal(tensor, theirs[own])


def test_tinybert_learns_below_the_logits_first_and_the_distribution_then():
    teacher, student = Student(TEACHER, seed=1), Student(STUDENT, seed=2)
    tokens = RNG.integers(65, size=(2, 8)).astype(np.int32)
    recipe = recipe_of(TinybertDistill(kind="tinybert", first_stage_tokens=160), TokenTargets(), teacher)
    adapters = recipe.adapters(student, jax.random.key(0))

    @jax.jit
    def aim(step):
        aimed = recipe.losses(student, tokens, tokens, Moment(step, adapters)).aim
        return aimed, features(student, tokens), features(teacher, tokens)

    _, own, taught = aim(0)
    below = plain_error(np.asarray(taught.embedding_BTM), np.asarray(own.embedding_BTM @ adapters["embedding"]))
    # The student's layers 0 and 1 stand for the teacher's 0 – 1 and 2 – 3, and end where those end.
    for layer, stands_for in ((0, 1), (1, 3)):
        state = np.asarray(own.hidden_BTM[layer] @ adapters[f"hidden_{layer}"])
        below += plain_error(np.asarray(taught.hidden_BTM[stands_for]), state)
        below += plain_scores(np.asarray(taught.scores_BHTS[stands_for]), np.asarray(own.scores_BHTS[layer]))
    above = plain_distribution(np.asarray(taught.logits_BTV, float), np.asarray(own.logits_BTV, float), 1.0)
    # A step counted in tokens is more than 32 bits hold from 2**27 of these steps on.
    last = recipe.spec.stage_steps(tokens.size) - 1
    aims = [float(aim(step)[0]) for step in (0, last, last + 1, 2**27, 2**28, LATE)]
    assert last == 9
    assert aims == pytest.approx([below, below, above, above, above, above], rel=1e-5)


@pytest.mark.slow
def test_a_student_that_learns_on_policy_is_scored_on_what_it_writes_in_a_share_of_the_steps():
    teacher, student = Student(SMALL_TEACHER, seed=1), Student(SMALL, seed=2)
    tokens = RNG.integers(65, size=(2, 8)).astype(np.int32)
    recipe = recipe_of(OnPolicyDistill(kind="on_policy", own_share=0.5), TokenTargets(), teacher)

    @jax.jit
    def aims(step):
        moment = Moment(step, {}, jax.random.key_data(jax.random.key(3)))
        written = own_text(student, tokens[:, 0], 8, moment.keys(2)[1])
        apart = [divergence(teacher(x), student(x), 0.5) for x in (tokens, written)]
        return recipe.losses(student, tokens, tokens, moment).aim, *apart, written

    chosen = []
    for step in range(8):
        aim, on_data, on_own, written = (np.asarray(part) for part in aims(step))
        np.testing.assert_array_equal(written[:, 0], tokens[:, 0])
        is_own = abs(aim - on_own) < abs(aim - on_data)
        assert aim == pytest.approx(on_own if is_own else on_data, rel=1e-5)
        chosen.append(is_own)
    assert 0 < sum(chosen) < 8


def recipes_of_small_models() -> dict[str, tuple]:
    """By kind: settings, targets, teacher's vocabulary, and what is told beside the tokens of a batch of 2 × 8."""
    tokens, weights = np.zeros((2, 8), np.int32), np.full((2, 8, 3), 1 / 3, np.float32)
    sampled = {"token": tokens, "weights": weights, "ids": np.zeros((2, 8, 3), np.int32)}
    several = {"token": tokens, "mixed": tokens}
    first = {"first_stage_tokens": 16}
    return {
        "sequence": (SequenceDistill(), TokenTargets(), 65, tokens),
        "logit": (LogitDistill(), SampledTargets(kind="sampled"), 65, sampled),
        "soft": (SoftDistill(kind="soft"), TokenTargets(), 65, tokens),
        "minilm": (MinilmDistill(kind="minilm"), TokenTargets(), 65, tokens),
        "distilbert": (DistilbertDistill(kind="distilbert"), TokenTargets(), 65, tokens),
        "tinybert": (TinybertDistill(kind="tinybert", **first), TokenTargets(), 65, tokens),
        "on_policy": (OnPolicyDistill(kind="on_policy"), TokenTargets(), 65, tokens),
        "dual_vocab": (DualVocabDistill(kind="dual_vocab"), TokenTargets(), 80, several),
        "mixed_vocab": (MixedVocabDistill(kind="mixed_vocab", **first), TokenTargets(), 80, several),
    }


def begun(kind: str, precision: str = "float32"):
    """Program and batch of a recipe, nothing of it compiled."""
    recipe, targets, n_theirs, told = recipes_of_small_models()[kind]
    teacher = Student(SMALL.model_copy(update={"vocab_size": n_theirs}), seed=1)
    made = program(SMALL, OptimSpec(precision=precision), targets=targets, recipe=recipe, teacher=teacher)
    return made, (np.zeros((2, 8), np.int32), told)


@pytest.mark.slow
@pytest.mark.parametrize("precision", get_args(OptimSpec.model_fields["precision"].annotation))
@pytest.mark.parametrize("kind", sorted(recipes_of_small_models()))
def test_a_step_of_every_recipe_begins_in_every_precision_and_is_probed(kind, precision):
    made, batch = begun(kind, precision)
    state = jax.eval_shape(made.init, 0)
    after, log = jax.eval_shape(made.step, state, *batch, np.float32(1e-3))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert log.loss.dtype == jax.eval_shape(made.probe, state.params, *batch).noise.dtype == np.float32


def test_every_recipe_is_among_those_that_are_begun():
    assert recipes_of_small_models().keys() == set(RECIPES)


def test_what_a_recipe_draws_is_another_in_each_step_of_each_run_and_no_two_draws_are_one():
    assert [kind for kind in RECIPES if RECIPES[kind].draws] == ["on_policy"]
    made, _ = begun("on_policy")
    draw = jax.jit(jax.vmap(jax.random.uniform))
    drawn = [
        np.asarray(draw(Moment(step, {}, made.init(seed).key).keys(2))) for seed in (0, 1, 2) for step in (0, 1, 2)
    ]
    assert len(np.unique(drawn)) == 18
    assert begun("soft")[0].init(0).key is None


def test_a_recipe_without_a_network_is_refused():
    with pytest.raises(TrainError, match="soft needs its teacher's network"):
        recipe_of(SoftDistill(kind="soft"), TokenTargets())


def teacher_run_of(model: ModelSpec) -> dict:
    return {
        "model": model.model_dump(),
        "data": {"source": WORLD},
        "optim": {"batch_size": 1, "warmup_tokens": 640},
        "evaluation": {"tokens": 2000},
        "tokens": 12_800,
    }


def run_of(recipe: dict | None, *, model: ModelSpec = STUDENT, teacher: ModelSpec = TEACHER, **changed) -> RunSpec:
    run = teacher_run_of(teacher)
    own = run | {"model": model.model_dump(), "tokens": 12_800} | changed
    own["data"] = {"source": WORLD, "teacher": {"kind": "net", "run": run}}
    return RunSpec.model_validate(own if recipe is None else own | {"distill": recipe})


@pytest.mark.parametrize(
    ("recipe", "model", "said"),
    [
        ({"kind": "tinybert", "first_stage_tokens": 1}, {"n_layers": 3}, "3 do not divide the teacher's 4; .* 1, 2, 4"),
        ({"kind": "tinybert", "first_stage_tokens": 1}, {"n_heads": 4}, "set model.n_heads to 2"),
        ({"kind": "tinybert", "first_stage_tokens": 12_800}, {}, "leave tinybert none .* at most 12,799"),
        ({"kind": "distilbert"}, {}, "set model.width to 64"),
        ({"kind": "minilm"}, {"n_heads": 4, "n_kv_heads": 4}, "set model.n_heads to 2"),
        ({"kind": "soft", "weight": 2}, {}, "less than or equal to 1"),
        ({"kind": "on_policy", "beta": -1}, {}, "greater than or equal to 0"),
        ({"kind": "dual_vocab"}, {}, "w0 is no text; leave distill out"),
    ],
)
def test_a_student_that_cannot_learn_so_is_refused_with_what_would_work(recipe, model, said):
    with pytest.raises(ValidationError, match=said):
        run_of(recipe, model=ModelSpec.model_validate(STUDENT.model_dump(exclude_defaults=True) | model))


def test_a_teacher_that_has_no_network_is_refused_with_the_way_in_which_it_tells_its_distribution():
    teacher = {"kind": "noise", "rate": 0.2}
    run = teacher_run_of(STUDENT) | {"distill": {"kind": "soft"}, "data": {"source": WORLD, "teacher": teacher}}
    with pytest.raises(
        ValidationError, match="a noise teacher has none .* out and set data.targets to sampled or topk"
    ):
        RunSpec.model_validate(run)


@pytest.mark.slow
def test_every_recipe_trains_a_student_that_is_kept_without_what_it_learned_beside(tmp_path):
    from scaling.teach.teachers import prepare

    store = RunStore(tmp_path)
    # All are of one shape, the teacher too: one program measures them, and writes.
    shared = {"model": SMALL, "teacher": SMALL, "tokens": 6_400}
    kinds = ("sequence", "soft", "minilm", "distilbert", "on_policy")
    runs = {kind: run_of({"kind": kind}, **shared) for kind in kinds}
    # A batch of several is probed for noise as well, here with what is learned beside the student.
    tinybert = {"kind": "tinybert", "first_stage_tokens": 3_200}
    runs["tinybert"] = run_of(tinybert, **shared, optim={"batch_size": 8, "warmup_tokens": 640})
    prepare(list(runs.values()), store)
    losses = {}
    for name, run in runs.items():
        (record,) = train_trunk([run], store)
        assert record.outcome.status == "done", record.outcome.error
        assert load_student(store.student_dir(run.run_id), run.model).model == run.model
        losses[name] = record.outcome.loss
        assert record.row()["aims_at_loss"] == (name != "on_policy")
        assert record.row()["teacher_flops"] > 0
    # Where its first stage ends is where its loss begins to be judged.
    begun_anew = TrunkTraining([runs["tinybert"]], store, Meter(), mesh=ONE_DEVICE)
    assert begun_anew.trunk.learned_from == 3_200 // runs["tinybert"].step_tokens
    # Whoever starts from the teacher's own layers is ahead of who is told as much and starts from nothing.
    assert losses["distilbert"] < losses["soft"] - 0.02
    # Tokens alone, or all of the distribution: the same is learned, by less noisy steps.
    assert losses["soft"] < losses["sequence"]
