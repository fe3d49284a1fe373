"""Lines of a footprint: they add up, and each is what the file or the engine takes."""

from __future__ import annotations

import pytest

from scaling.accounting import STORED_FORMATS, WEIGHT_FORMATS, bpe_layout, gguf_bytes, symbol_layout, weights_bytes
from scaling.errors import SpecError
from scaling.predict.named.shapes import shape_of_size
from scaling.predict.phones.breakdown import breakdown
from scaling.spec import ModelSpec

MODEL = ModelSpec(vocab_size=96, width=64, n_layers=3, n_heads=4, n_kv_heads=2, context=512)
UNTIED = MODEL.model_copy(update={"tied_embeddings": False})


def lines(model: ModelSpec = MODEL, **options) -> dict[str, int]:
    found = breakdown(model, tokenizer=symbol_layout(96), **options)
    return {line.name: line.n_bytes for line in found.lines}


@pytest.mark.parametrize("model", [MODEL, UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
@pytest.mark.parametrize("format", WEIGHT_FORMATS)
def test_lines_add_up_to_the_footprint_and_those_of_the_file_to_the_file(model, architecture, format):
    found = breakdown(model, format=format, tokenizer=symbol_layout(96), architecture=architecture)
    assert sum(line.n_bytes for line in found.lines) == found.footprint.total_bytes
    assert sum(line.n_bytes for line in found.lines if line.mapped) == found.footprint.weights_bytes
    assert all(line.n_bytes >= 0 for line in found.lines)
    inside = sum(line.n_bytes for line in found.lines if line.mapped and line.name != "tokenizer and index")
    assert inside == weights_bytes(model, found.storage)


def test_a_line_is_what_one_counts_by_hand():
    found = lines(format="q8_0")
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * MODEL.hidden
    assert found["token table"] == 96 * 64
    assert found["matrices of the layers"] == 3 * layer
    assert found["scales and zero points"] == (96 * 64 + 3 * layer) // 32 * 2
    assert found["norms, always f32"] == 4 * 64 * 7
    assert found["key–value cache"] == 2 * 3 * 2 * 16 * 512 * 2
    assert found["matrices repacked at load"] == (96 * 64 + 3 * layer) * 34 // 32


def test_a_separate_head_is_a_line_of_its_own():
    assert "output head" not in lines()
    assert lines(UNTIED)["output head"] == lines(UNTIED)["token table"]


def test_a_cache_of_another_type_and_length_costs_its_share():
    whole = lines()["key–value cache"]
    assert lines(cache="f32")["key–value cache"] == 2 * whole
    assert lines(cache="q8_0")["key–value cache"] == whole * 17 // 32
    assert lines(context=1024)["key–value cache"] == 2 * whole
    with pytest.raises(SpecError, match="unknown type of cache 'q8'"):
        lines(cache="q8")


def test_int8_for_each_channel_runs_in_the_engine_that_knows_it():
    found = breakdown(MODEL, format="int8", tokenizer=symbol_layout(96))
    assert (found.storage, found.engine) == ("affine_channel", "litert_lm")


def test_the_measured_memory_of_litert_is_forecast_within_its_spread():
    """SmolLM2-135M as int8: 418 – 463 MB, of which 23 are the interpreter's; its file holds the table twice."""
    smollm2 = ModelSpec(
        vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536, context=1024
    )
    found = breakdown(smollm2, format="int8", tokenizer=bpe_layout(49152), architecture="x86_64").footprint
    assert 418e6 - 23e6 <= found.total_bytes + 49152 * 576 <= 463e6 - 23e6


def test_a_billion_parameters_are_four_gigabytes_and_one_in_int8():
    model = shape_of_size(1e9)
    sizes = [
        breakdown(model, format=name, tokenizer=bpe_layout(32000)).footprint.weights_bytes for name in ("f32", "q8_0")
    ]
    assert [round(size / 1e9, 1) for size in sizes] == [4.0, 1.1]


def test_placeholders_of_a_bpe_take_what_the_tokens_of_one_take():
    """SmolLM2's 49,152 tokens and their merges: 1.78 MB of its file."""
    model = ModelSpec(vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536)
    beside = gguf_bytes(model, bpe_layout(49152), "Q8_0") - weights_bytes(model, "Q8_0")
    assert beside == pytest.approx(1_784_832, rel=0.02)


@pytest.mark.parametrize(("engine", "formats"), [("litert", "f32, int8"), ("onnx_runtime", "f32, q8_0")])
def test_an_engine_is_asked_for_its_own_files_and_refuses_others_by_the_names_that_people_type(engine, formats):
    for format in formats.split(", "):
        found = breakdown(MODEL, format=format, tokenizer=symbol_layout(MODEL.vocab_size), engine=engine)
        (stored,) = (one for one in STORED_FORMATS.values() if (one.engine, one.storage) == (engine, found.storage))
        assert found.footprint.weights_bytes == stored.bytes_of(MODEL, symbol_layout(MODEL.vocab_size), found.storage)
    with pytest.raises(SpecError, match=f"{engine} runs no file of q4_0 — allowed are {formats};"):
        breakdown(MODEL, format="q4_0", tokenizer=symbol_layout(MODEL.vocab_size), engine=engine)
