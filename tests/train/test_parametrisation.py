"""Coordinate check: what training changes is as large in a wide or deep student as in the base one (µP, CompleteP)."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.spec import ModelSpec, OptimSpec
from scaling.train.optimizer import rate_factors
from scaling.train.step import program, with_params
from scaling.train.student.model import Tensors, to_tensors

BASE_RATE = 5e-3


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    """int32[16, 17]: each token is followed by the one that a permutation names, so there is something to learn."""
    rng = np.random.default_rng(0)
    follower, steps = rng.permutation(65), [rng.integers(0, 65, 16)]
    for _ in range(16):
        steps.append(follower[steps[-1]])
    return np.stack(steps, axis=1).astype(np.int32)


def moved(tokens: np.ndarray, *, width: int = 64, n_layers: int = 2, rate: float | None = None) -> dict[str, float]:
    """What ten steps on one batch change, with the hidden matrices' rate ∝ 1/width unless given.

    ``stream``: of the residual stream after the last block, relative to its size at the start (the next norm sees no
    more). ``target``: of the right token's logit, above the mean of all.
    """
    model = ModelSpec(vocab_size=65, width=width, n_layers=n_layers, context=16)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    compiled = program(model, OptimSpec())
    state = compiled.init(0)
    before, logits_before = forward(model, to_tensors(with_params(model, state.params)), inputs)
    for _ in range(10):
        state, _ = compiled.step(state, inputs, targets, np.float32(rate or BASE_RATE * 32 / width))
    after, logits = forward(model, to_tensors(with_params(model, jax.device_get(state.params))), inputs)
    change = logits - logits_before
    change -= change.mean(-1, keepdims=True)
    return {
        "start": float(np.abs(before).mean()),
        "stream": float(np.abs(after - before).mean() / np.abs(before).mean()),
        "target": float(np.take_along_axis(change, targets[..., None].astype(int), -1).mean()),
    }


def forward(model: ModelSpec, tensors: Tensors, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The residual stream after the last block [B, T, M] and the logits [B, T, V], from the exported tensors."""
    w = {name.removesuffix(".weight"): tensor for name, tensor in tensors.items()}
    (b, t), h, k = tokens.shape, model.n_heads, model.head_width
    angle = np.arange(t)[:, None] * model.rope_base ** (-np.arange(0, k, 2) / k)

    def norm(x, gain):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + model.norm_eps) * gain

    def rotate(x):
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)[:, None]
        return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)

    x = w["token_embd"][tokens]
    for i in range(model.n_layers):
        y = norm(x, w[f"blk.{i}.attn_norm"])
        q, key, value = ((y @ w[f"blk.{i}.attn_{name}"].T).reshape(b, t, h, k) for name in "qkv")
        scores = np.einsum("bthk,bshk->bhts", rotate(q), rotate(key)) / np.sqrt(k)
        scores = np.exp(np.where(np.tri(t, dtype=bool), scores, -np.inf))
        mixed = np.einsum("bhts,bshk->bthk", scores / scores.sum(-1, keepdims=True), value)
        x = x + mixed.reshape(b, t, h * k) @ w[f"blk.{i}.attn_output"].T
        y = norm(x, w[f"blk.{i}.ffn_norm"])
        gate = y @ w[f"blk.{i}.ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w[f"blk.{i}.ffn_up"].T)) @ w[f"blk.{i}.ffn_down"].T
    return x, norm(x, w["output_norm"]) @ w["token_embd"].T


@pytest.mark.slow
def test_what_training_changes_is_the_same_at_every_width(tokens):
    """With one rate for all widths, the widest one's stream would move half as much again, at the least."""
    found = {width: moved(tokens, width=width) for width in (32, 64, 256)}
    for what in ("start", "stream", "target"):
        values = [one[what] for one in found.values()]
        assert max(values) < 1.15 * min(values), what
    assert moved(tokens, width=256, rate=BASE_RATE)["stream"] > 1.5 * found[256]["stream"]


@pytest.mark.slow
def test_what_training_changes_is_the_same_at_every_depth(tokens):
    """Without the branches' factor on rates and initial values, 16 layers would move 1.8 to 3.4 times as far as 2."""
    found = [moved(tokens, n_layers=depth) for depth in (2, 4, 16)]
    for what in ("stream", "target"):
        values = [one[what] for one in found]
        assert max(values) < 1.25 * min(values), what


@pytest.mark.parametrize(("width", "n_layers"), [(32, 2), (96, 2), (32, 8)])
def test_the_base_size_has_one_rate_and_others_have_theirs(width, n_layers):
    model = ModelSpec(vocab_size=65, width=width, n_layers=n_layers)
    factors = rate_factors(model)
    assert factors["attn_qkv"] == factors["ffn_gate_up"] == 1
    assert factors["token_embd"] == factors["attn_norm"] == width / 32
    assert factors["attn_output"] == factors["ffn_down"] == 2 / n_layers
