"""The loss that llama.cpp computes is the loss that JAX computes on the weights of the same file, format by format."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.accounting import symbol_layout, tensor_shapes
from scaling.compress.activations import DYNAMIC
from scaling.compress.student import quantize
from scaling.data.tokenizers import Tokenizer, train_tokenizer
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.export.format import EXPORT_FORMATS, About
from scaling.spec import ModelSpec, TokenizerSpec
from scaling.train.student.generator import as_trained
from scaling.train.student.model import from_tensors

pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")

ABOUT = About(run_id="0123456789", name="student", description="", license="MIT", text="w0")
CORPUS = ["the cat sat on the mat, and the hat; don't they'll naïve café 1234"] * 20


def tokenizer_of(kind: str):
    if kind == "world":
        return symbol_layout(65)
    if kind == "bytes":
        return Tokenizer().to_gguf()
    pytest.importorskip("tokenizers", reason="learns a BPE: pip install 'scaling[text]'")
    return train_tokenizer(TokenizerSpec(kind="bpe", vocab_size=285), CORPUS).to_gguf()


def weights(model: ModelSpec) -> dict[str, np.ndarray]:
    """Of a moderate size, as training leaves them: an engine's roundings grow with that of the logits."""
    rng = np.random.default_rng(3)
    return {
        key: 0.4 * rng.standard_normal(shape, np.float32) / np.float32(shape[1] ** 0.5)
        if len(shape) == 2
        else rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for key, shape in tensor_shapes(model).items()
    }


@pytest.mark.parametrize("kind", ["world", pytest.param("bytes", marks=pytest.mark.slow), "bpe"])
@pytest.mark.parametrize(
    ("format", "arithmetic", "most"),
    [
        ("gguf_f32", as_trained, 1e-4),
        pytest.param("gguf_f16", as_trained, 1e-4, marks=pytest.mark.slow),
        ("gguf", DYNAMIC, 1e-3),
        ("gguf_q4_0", DYNAMIC, 1e-3),
    ],
)
def test_a_file_has_the_loss_in_the_engine_that_jax_gives_it(tmp_path, kind, format, arithmetic, most):
    tokenizer, writer = tokenizer_of(kind), EXPORT_FORMATS[format]
    model = ModelSpec(vocab_size=len(tokenizer.tokens), width=64, n_layers=2, n_heads=4, n_kv_heads=2, context=40)
    path = tmp_path / "model.gguf"
    writer.write(path, quantize(weights(model), writer.scheme), model=model, tokenizer=tokenizer, about=ABOUT)
    file = writer.read(path)
    tokens = np.random.default_rng(0).integers(0, model.vocab_size, (8, 33)).astype(np.int32)
    theirs = LlamaCpp().log_probs(path, tokens[:, :-1], tokenizer=tokenizer, context=40).astype(np.float64)
    ours = np.asarray(jax.nn.log_softmax(arithmetic(from_tensors(model, file.tensors), tokens[:, :-1])), np.float64)
    at = tokens[:, 1:, None]
    difference = np.take_along_axis(theirs, at, -1).mean() - np.take_along_axis(ours, at, -1).mean()
    assert abs(difference) <= most


def test_a_token_is_as_likely_as_in_jax_where_keys_are_not_rounded_and_all_probabilities_come_to_1(tmp_path):
    tokenizer, writer = symbol_layout(65), EXPORT_FORMATS["gguf_f32"]
    model = ModelSpec(vocab_size=65, width=64, n_layers=2, n_heads=4, n_kv_heads=2, context=40)
    path, student = tmp_path / "model.gguf", quantize(weights(model), "f32")
    writer.write(path, student, model=model, tokenizer=tokenizer, about=ABOUT)
    tokens = np.random.default_rng(0).integers(0, 65, (2, 33)).astype(np.int32)
    ours = np.asarray(jax.nn.log_softmax(as_trained(from_tensors(model, student.dequantize()), tokens)), np.float64)
    off = {}
    # The fused attention would round them whatever the cache holds.
    for engine in (LlamaCpp(), LlamaCpp(cache_type="f32", flash_attention=False)):
        theirs = engine.log_probs(path, tokens, tokenizer=tokenizer, context=40).astype(np.float64)
        np.testing.assert_allclose(np.exp(theirs).sum(axis=-1), 1, atol=1e-6)
        off[engine.cache_type] = np.abs(theirs - ours).max()
    assert off["f32"] < 2e-5 < 2e-4 < off["f16"]
