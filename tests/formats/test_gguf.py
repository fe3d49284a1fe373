"""GGUF files: exact bytes, exact values, and refusal of everything that is not one of ours."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaling.accounting import (
    NEVER_APPLIED_MERGE,
    TokenizerLayout,
    gguf_bytes,
    gguf_metadata,
    symbol_layout,
    tensor_shapes,
    weights_bytes,
)
from scaling.errors import ExportError, SpecError
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.formats.gguf_index import read_index
from scaling.formats.gguf_keys import read_model, read_tokenizer
from scaling.formats.quantized import QuantizedMatrix, quantize_blocks, quantize_q8_0
from scaling.spec import ModelSpec

gguf = pytest.importorskip("gguf", reason="reads and writes GGUF files: pip install 'scaling[export]'")


def random_tensors(model: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.standard_normal(shape, np.float32) for key, shape in tensor_shapes(model).items()}


def stored_as(tensors: dict[str, np.ndarray], storage: str) -> dict:
    convert = {
        "F32": lambda t: t,
        "F16": lambda t: t.astype(np.float16),
        "Q8_0": quantize_q8_0,
        "Q4_0": lambda t: quantize_blocks(t, 4),
    }[storage]
    return {key: convert(tensor) if tensor.ndim == 2 else tensor for key, tensor in tensors.items()}


def text_layout(vocab_size: int) -> TokenizerLayout:
    """Non-ASCII token texts and many merges, where a count of characters instead of bytes would show."""
    return TokenizerLayout(
        tokens=tuple(f"Ġ{i}é" for i in range(vocab_size)),
        token_types=(1,) * (vocab_size - 1) + (3,),
        merges=tuple(f"Ġ{i} é" for i in range(vocab_size // 2)),
        bos_id=vocab_size - 1,
        eos_id=vocab_size - 1,
    )


MODELS = [
    ModelSpec(vocab_size=65, width=32, context=40),
    ModelSpec(vocab_size=65, width=96, n_layers=12, context=40, tied_embeddings=False),
    ModelSpec(vocab_size=257, width=64, n_layers=1, n_heads=4, n_kv_heads=2, hidden=160),
    ModelSpec(vocab_size=1001, width=128, n_layers=3, head_width=64, n_heads=3, n_kv_heads=1, rope_base=5e5),
]


@pytest.mark.parametrize("storage", ["F32", "F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.vocab_size}x{m.width}x{m.n_layers}")
@pytest.mark.parametrize("layout", [symbol_layout, text_layout])
@pytest.mark.parametrize("about", [{}, {"general.name": "süd-1", "general.license": "MIT"}], ids=["silent", "named"])
def test_a_file_has_exactly_the_bytes_that_were_forecast(tmp_path, model, storage, layout, about):
    tokenizer = layout(model.vocab_size)
    path = tmp_path / "model.gguf"
    written = write_gguf(path, stored_as(random_tensors(model), storage), model=model, tokenizer=tokenizer, about=about)
    assert path.stat().st_size == written == gguf_bytes(model, tokenizer, storage)
    assert read_gguf(path).about.items() >= about.items()


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.vocab_size}x{m.width}x{m.n_layers}")
def test_a_float_file_gives_back_what_was_written(tmp_path, model):
    tensors, tokenizer = random_tensors(model), text_layout(model.vocab_size)
    write_gguf(tmp_path / "m.gguf", tensors, model=model, tokenizer=tokenizer, about={"general.name": "a student"})
    back = read_gguf(tmp_path / "m.gguf")
    assert (back.model, back.tokenizer, back.about["general.name"]) == (model, tokenizer, "a student")
    assert back.tensors.keys() == tensors.keys()
    assert all(np.array_equal(back.tensors[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("storage", ["Q8_0", "Q4_0"])
def test_a_quantized_file_gives_back_the_dequantized_values_and_keeps_norms_exact(tmp_path, storage):
    model = MODELS[2]
    tensors = random_tensors(model)
    stored = stored_as(tensors, storage)
    write_gguf(tmp_path / "m.gguf", stored, model=model, tokenizer=symbol_layout(257))
    back = read_gguf(tmp_path / "m.gguf")
    for key, tensor in tensors.items():
        expected = stored[key].dequantize() if tensor.ndim == 2 else tensor
        assert np.array_equal(back.tensors[key], expected), key
    assert back.storage["token_embd.weight"] == storage
    assert back.storage["blk.0.ffn_norm.weight"] == "F32"


@pytest.mark.parametrize("storage", ["Q8_0", "Q4_0"])
def test_the_blocks_of_a_file_are_those_that_the_gguf_package_makes(tmp_path, storage):
    model = MODELS[0]
    tensors = random_tensors(model)
    write_gguf(tmp_path / "m.gguf", stored_as(tensors, storage), model=model, tokenizer=symbol_layout(65))
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    for key, tensor in tensors.items():
        if tensor.ndim == 2:
            assert np.array_equal(stored[key], gguf.quantize(tensor, gguf.GGMLQuantizationType[storage])), key


def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path):
    path = tmp_path / "m.gguf"
    write_gguf(path, random_tensors(MODELS[0]), model=MODELS[0], tokenizer=symbol_layout(65))
    whole = path.read_bytes()
    for kept in [0, 3, 20, 200, 900, 2500, len(whole) // 2, len(whole) - 100]:
        path.write_bytes(whole[:kept])
        with pytest.raises(ExportError, match="not a complete GGUF file|missing|no student"):
            read_gguf(path)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Write a small file with other keys than ours, left out where they are None."""

    def write(model: ModelSpec = MODELS[0], **changes) -> Path:
        def metadata(*args, **options):
            keys = gguf_metadata(*args, **options) | changes
            return {key: value for key, value in keys.items() if value is not None}

        monkeypatch.setattr("scaling.formats.gguf.gguf_metadata", metadata)
        path = tmp_path / "m.gguf"
        write_gguf(path, random_tensors(model), model=model, tokenizer=symbol_layout(65))
        return path

    return write


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tokenizer.ggml.pre": None}, "tokenizer.ggml.pre is missing, and without it every engine cuts text its own"),
        ({"tokenizer.ggml.bos_token_id": None}, "key tokenizer.ggml.bos_token_id is missing"),
        ({"tokenizer.ggml.eos_token_id": None}, "key tokenizer.ggml.eos_token_id is missing"),
        ({"tokenizer.ggml.eos_token_id": 65}, "must be ids of the 65 tokens"),
        ({"llama.context_length": None}, "key llama.context_length is missing"),
        ({"llama.block_count": 2**31}, "2147483648 layers and 20 tensors do not fit"),
        ({"llama.attention.head_count": 0}, "llama.attention.head_count is '0' — a whole number from 1 is needed"),
        ({"llama.attention.head_count": "2"}, "is '2' — a whole number from 1 is needed"),
        ({"llama.rope.freq_base": float("nan")}, "is 'nan' — a finite number is needed"),
        ({"llama.vocab_size": 64}, "a vocabulary of 64 and 65 tokens"),
        ({"llama.rope.scaling.factor": 4.0}, "llama.rope.scaling.factor is 4.0, which an engine may heed"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type is yarn, which an engine may heed"),
        ({"llama.attention.causal": False}, "llama.attention.causal is False, which an engine may heed"),
        ({"llama.expert_count": 2}, "llama.expert_count is 2, which an engine may heed"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_a_file_leaves_out_or_adds_is_refused_where_an_engine_would_take_it_otherwise(stored, keys, message):
    with pytest.raises(ExportError, match=re.escape(message)):
        read_gguf(stored(**keys))


VALUES = [
    *(None, True, -1, 0, 1, 1000, 2**40, 2.5, 0.0, math.inf, math.nan, "", "gpt2", [], ["a"], ["a"] * 65),
    *(np.array([], np.int32), np.array([1], np.int32), np.array([8, 8, 0, 0], np.int32), np.array([1.0, math.nan])),
]
"""Of every type that a file can say, and None for none; the ends of what there is of each."""


def test_whatever_a_key_says_a_file_is_read_or_refused_by_its_name(stored):
    path = stored()
    keys = read_index(path, {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}).keys
    outcomes = set()
    for key in (*keys, "llama.rope.dimension_sections", "llama.attention.causal", "llama.expert_count"):
        for value in VALUES:
            said = {one: told for one, told in {**keys, key: value}.items() if told is not None}
            try:
                read_model(path, said, n_tensors=20, tied=True)
                read_tokenizer(path, said)
                outcomes.add("read")
            except ExportError as error:
                outcomes.add(str(error).partition(": ")[0])
    assert outcomes == {"read", str(path)}


def test_a_length_that_a_file_leaves_out_and_nothing_can_stand_for_is_named(stored):
    keys = dict.fromkeys(("llama.attention.key_length", "llama.attention.value_length", "llama.rope.dimension_count"))
    said = "llama.attention.key_length is '0', as the file does not say it — a whole number from 1 is needed"
    with pytest.raises(ExportError, match=re.escape(said)):
        read_gguf(stored(**{"llama.attention.head_count": 1000}, **keys))


def test_what_a_file_may_leave_out_is_what_the_engine_takes_instead(stored):
    lengths = ("head_count_kv", "key_length", "value_length")
    keys = ["vocab_size", "rope.freq_base", "rope.dimension_count", *(f"attention.{length}" for length in lengths)]
    assert read_gguf(stored(**{f"llama.{key}": None for key in keys})).model == MODELS[0]
    # The engine takes a head's share of the width for the values, whatever the length of its keys.
    wide = MODELS[0].model_copy(update={"head_width": 32})
    with pytest.raises(ExportError, match="heads of 32 with values of 16"):
        read_gguf(stored(wide, **{"llama.attention.value_length": None}))


def changed_after(path: Path, name: bytes, skip: int, value: bytes) -> Path:
    """Write other bytes some places after a name."""
    content = bytearray(path.read_bytes())
    at = content.index(name) + len(name) + skip
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def test_a_flipped_type_of_an_array_is_refused_at_once(stored):
    # Texts (8) become arrays (9): their lengths would be read as types and counts without end.
    path = changed_after(stored(), b"tokenizer.ggml.tokens", 4, bytes([9]))
    with pytest.raises(ExportError, match="tokenizer.ggml.tokens is of type 9, which is not known"):
        read_gguf(path)


def test_tensors_that_share_their_bytes_are_refused(stored):
    # After the name: how many dimensions, two of them, the type, and the offset.
    path = changed_after(stored(), b"blk.0.attn_k.weight", 4 + 16 + 4, bytes(8))
    with pytest.raises(ExportError, match="lies over another tensor"):
        read_gguf(path)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    tensors = stored_as(random_tensors(MODELS[0]), "Q8_0")
    tensors["blk.1.attn_q.weight"].scales[3, 0] = np.inf
    write_gguf(tmp_path / "m.gguf", tensors, model=MODELS[0], tokenizer=symbol_layout(65))
    with pytest.raises(ExportError, match="blk.1.attn_q.weight holds weights that are not finite"):
        read_gguf(tmp_path / "m.gguf")


def test_damaged_files_are_refused_within_a_gibibyte():
    script = Path(__file__).parents[1] / "attacks" / "gguf_mutants.py"
    command = [sys.executable, "-W", "error", str(script), "--count", "400", "--seed", "7", "--no-bombs"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    assert "400 tried" in done.stdout
    assert "0 violations" in done.stdout


def test_a_file_of_another_kind_is_refused_with_its_name(tmp_path):
    with pytest.raises(ExportError, match="nowhere.gguf: no such file"):
        read_gguf(tmp_path / "nowhere.gguf")
    (tmp_path / "text.gguf").write_text("not a model, but long enough to be read as a header")
    with pytest.raises(ExportError, match="text.gguf: not a complete GGUF file"):
        read_gguf(tmp_path / "text.gguf")


def test_another_architecture_is_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gemma")
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ExportError, match="architecture 'gemma' — only 'llama'"):
        read_gguf(tmp_path / "m.gguf")


def test_wrong_tensors_are_named_and_nothing_is_written(tmp_path):
    model = MODELS[0]
    tensors = random_tensors(model)
    del tensors["blk.1.ffn_up.weight"]
    tensors["blk.0.attn_q.weight"] = tensors["blk.0.attn_q.weight"][:16]
    with pytest.raises(ExportError, match=r"attn_q.weight is \(16, 32\), not \(32, 32\); blk.1.ffn_up.weight is a"):
        write_gguf(tmp_path / "m.gguf", tensors, model=model, tokenizer=symbol_layout(65))
    with pytest.raises(ExportError, match="257 tokens, the model a vocabulary of 65"):
        write_gguf(tmp_path / "m.gguf", random_tensors(model), model=model, tokenizer=symbol_layout(257))
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_into_the_room_for_people_is_refused(tmp_path):
    about = {"general.description": 1024 * "x"}
    with pytest.raises(SpecError, match="takes 72 bytes more than 1024; shorten it"):
        write_gguf(
            tmp_path / "m.gguf", random_tensors(MODELS[0]), model=MODELS[0], tokenizer=symbol_layout(65), about=about
        )
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_a_file_cannot_say_is_refused(tmp_path):
    long = MODELS[0].model_copy(update={"context": 2**32})
    with pytest.raises(ExportError, match="llama.context_length is 4294967296, which the 32 bits of a GGUF number"):
        write_gguf(tmp_path / "m.gguf", random_tensors(long), model=long, tokenizer=symbol_layout(65))


def test_int8_that_gguf_cannot_hold_is_refused(tmp_path):
    model = MODELS[0]
    tensors: dict = random_tensors(model)
    values = np.zeros((65, 32), np.int8)
    tensors["token_embd.weight"] = QuantizedMatrix(
        values=values, scales=np.ones((65, 1), np.float32), zero_points=np.zeros((65, 1), np.int8)
    )
    with pytest.raises(ExportError, match="symmetric blocks of 32 — got 1 scales a row of 32 and zero points"):
        write_gguf(tmp_path / "m.gguf", tensors, model=model, tokenizer=symbol_layout(65))
    with pytest.raises(SpecError, match="cannot hold affine_channel"):
        gguf_bytes(model, symbol_layout(65), "affine_channel")


def test_bytes_of_a_published_model_are_those_measured():
    """SmolLM2-135M as Q8_0, weights and norms: 34/32 bytes a matrix weight, 4 a gain."""
    model = ModelSpec(
        vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536, context=2048
    )
    gains = 61 * 576
    assert weights_bytes(model, "Q8_0") == (134_515_008 - gains) * 34 // 32 + 4 * gains


def test_placeholder_tokens_are_distinct_and_survive_a_large_world():
    layout = symbol_layout(300, bos_id=7)
    assert len(set(layout.tokens)) == 300
    assert layout.tokens[7] == "<bos>"
    assert [i for i, kind in enumerate(layout.token_types) if kind == 3] == [7]
    assert layout.merges == (NEVER_APPLIED_MERGE,)
