"""The memory forecast: exact where it is arithmetic, and within a mebibyte of an engine where it is a model."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.accounting import TokenizerLayout, gguf_bytes, symbol_layout, tensor_shapes, this_architecture
from scaling.formats.gguf import write_gguf
from scaling.formats.quantized import quantize_blocks
from scaling.predict.phones.footprint import footprint
from scaling.spec import ModelSpec

MIB = 2**20

# SmolLM2-135M as Q8_0 at context 1024 with an f16 cache and n_ubatch 64 took 182.0 MiB in llama.cpp built into a
# library (llama-cpp-python 0.3.36), which has no server around it.
SMOLLM2 = ModelSpec(
    vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536, context=1024
)


def bpe_like(vocab_size: int, n_merges: int) -> TokenizerLayout:
    tokens = tuple(f"tok{i:05d}" for i in range(vocab_size))
    merges = tuple(f"{token[:4]} {token[4:]}" for token in tokens[:n_merges])
    return TokenizerLayout(
        tokens=tokens,
        token_types=(1,) * vocab_size,
        merges=merges,
        bos_id=vocab_size - 1,
        eos_id=vocab_size - 1,
    )


def test_the_file_of_a_footprint_is_the_file_that_is_written():
    model, tokenizer = ModelSpec(vocab_size=65, width=64, context=40), symbol_layout(65)
    assert footprint(model).weights_bytes == gguf_bytes(model, tokenizer, "Q8_0")
    assert footprint(model, storage="F32").weights_bytes == gguf_bytes(model, tokenizer, "F32")


def test_a_cache_is_rounded_up_as_the_engine_does():
    model = ModelSpec(vocab_size=65, width=64, n_layers=2, n_heads=4, n_kv_heads=2, context=40)
    one_step = 2 * 2 * 2 * 16 * 256 * 2
    assert footprint(model).kv_cache_bytes == one_step
    assert footprint(model, context=256).kv_cache_bytes == one_step
    assert footprint(model, context=257).kv_cache_bytes == 2 * one_step
    assert footprint(model, context=256, kv_value_bytes=34 / 32).kv_cache_bytes == one_step * 17 // 32


def test_total_is_the_sum_and_grows_with_every_size():
    base = {"vocab_size": 1024, "width": 128, "n_layers": 4, "context": 512}
    small = footprint(ModelSpec(**base))
    anonymous = (small.repacked_bytes, small.kv_cache_bytes, small.compute_bytes, small.engine_bytes)
    assert small.anonymous_bytes == sum(anonymous)
    assert small.total_bytes == small.weights_bytes + sum(anonymous)
    for larger in ({"vocab_size": 2048}, {"width": 160}, {"n_layers": 5}, {"context": 1024}):
        assert footprint(ModelSpec(**base | larger)).total_bytes > small.total_bytes


def test_another_build_of_the_engine_agrees_within_a_tenth():
    found = footprint(SMOLLM2, tokenizer=bpe_like(49152, 48900), architecture="x86_64")
    assert found.total_bytes == pytest.approx(182.0 * MIB, rel=0.1)


def test_a_phone_keeps_int8_twice_and_a_server_does_not():
    """llama.cpp#18096: matrices are copied for ARM, and the pages of the file stay mapped (llama.cpp#19578)."""
    phone, server = (footprint(SMOLLM2, architecture=kind) for kind in ("arm64", "x86_64"))
    matrices = (SMOLLM2.vocab_size * 576 + 30 * (2 * 576 * (576 + 192) + 3 * 576 * 1536)) * 34 // 32
    assert (phone.repacked_bytes, server.repacked_bytes) == (matrices, 0)
    assert phone.total_bytes - server.total_bytes == matrices
    assert phone.weights_bytes == server.weights_bytes
    assert footprint(SMOLLM2, storage="F16").repacked_bytes == 0


def test_four_bits_are_copied_as_well_and_a_separate_table_is_not():
    untied = SMOLLM2.model_copy(update={"tied_embeddings": False})
    tied = footprint(SMOLLM2, storage="Q4_0").repacked_bytes
    assert tied == footprint(untied, storage="Q4_0").repacked_bytes > 0


def test_rows_that_its_kernels_do_not_divide_are_not_copied():
    model = ModelSpec(vocab_size=65, width=64, n_layers=1, context=40)
    even = model.model_copy(update={"vocab_size": 64})
    assert footprint(even).repacked_bytes - footprint(model).repacked_bytes == 64 * 64 * 34 // 32


def test_a_published_model_is_copied_as_its_engine_said():
    """Llama-3.2-3B as Q4_0 with a table in 6 bits: llama.cpp#24156 drops 1.43 GiB of pages of which there is a copy."""
    llama = ModelSpec(vocab_size=128256, width=3072, n_layers=28, head_width=128, n_heads=24, n_kv_heads=8, hidden=8192)
    copied = footprint(llama, storage="Q4_0").repacked_bytes
    table = 128256 * 3072 * 18 // 32
    assert (copied - table) / 2**30 == pytest.approx(1.43, rel=0.04)


@pytest.mark.parametrize(
    ("model", "tokenizer", "bits"),
    [
        (ModelSpec(vocab_size=65, width=64, context=40), symbol_layout(65), 8),
        (ModelSpec(vocab_size=4096, width=256, n_layers=6, context=1024), bpe_like(4096, 3839), 8),
        (ModelSpec(vocab_size=4096, width=512, n_layers=8, context=256), symbol_layout(4096), 4),
    ],
    ids=["world", "text", "four bits"],
)
def test_the_engine_uses_what_was_forecast(tmp_path, model, tokenizer, bits):
    pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
    from scaling.export.engines.llama_cpp import LlamaCpp

    rng = np.random.default_rng(0)
    stored = {key: rng.standard_normal(shape, np.float32) * 0.05 for key, shape in tensor_shapes(model).items()}
    stored = {key: quantize_blocks(w, bits) if w.ndim == 2 else w for key, w in stored.items()}
    write_gguf(tmp_path / "m.gguf", stored, model=model, tokenizer=tokenizer)
    storage = {8: "Q8_0", 4: "Q4_0"}[bits]
    forecast = footprint(model, tokenizer=tokenizer, storage=storage, architecture=this_architecture())
    run = LlamaCpp().run(tmp_path / "m.gguf", [1, 2, 3], n_tokens=4, context=model.context, repeats=1, threads=1)
    assert run.peak_bytes == pytest.approx(forecast.total_bytes, abs=MIB)
