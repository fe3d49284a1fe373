"""Bytes of stored matrices, against blocks counted one by one and the published sizes of a model."""

from __future__ import annotations

import pytest

from scaling.accounting import LAYOUTS, STORED_FORMATS, WEIGHT_FORMATS, storages_named, tensor_bytes, weights_bytes
from scaling.errors import SpecError
from scaling.predict.phones.breakdown import stored_for
from scaling.predict.question import format_named
from scaling.spec import ModelSpec

SMOLLM2 = ModelSpec(
    vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536, context=2048
)


def counted(out: int, width: int, name: str) -> int:
    """Rows one after another, block by block."""
    total = 0
    for _ in range(out):
        if name == "int8":
            total += width + 4 + 1
        elif name in ("q8_0", "q4_0"):
            total += sum(2 + (32 if name == "q8_0" else 16) for _ in range(0, width, 32))
        else:
            total += width * {"f32": 4, "f16": 2}[name]
    return total


@pytest.mark.parametrize("name", WEIGHT_FORMATS)
@pytest.mark.parametrize("shape", [(1, 32), (7, 64), (65, 96)])
def test_a_matrix_takes_what_its_rows_and_blocks_take(name, shape):
    assert tensor_bytes(shape, storages_named(name)[0]) == counted(*shape, name)


@pytest.mark.parametrize("name", WEIGHT_FORMATS)
def test_gains_of_norms_stay_float32(name):
    assert tensor_bytes((64,), storages_named(name)[0]) == 256


@pytest.mark.parametrize(
    ("name", "file_bytes"), [("f32", 539_844_864), ("f16", 270_885_120), ("q8_0", 144_810_240), ("q4_0", 77_570_304)]
)
def test_files_of_a_published_model_are_weights_and_one_and_the_same_vocabulary(name, file_bytes):
    """Files written of SmolLM2-135M; beside the weights lie its 49,152 tokens and their merges."""
    assert file_bytes - weights_bytes(SMOLLM2, storages_named(name)[0]) == 1_784_832


def test_rows_that_blocks_do_not_divide_and_formats_that_nobody_knows_are_refused():
    with pytest.raises(SpecError, match="multiple of 32"):
        tensor_bytes((4, 40), "Q4_0")
    with pytest.raises(SpecError, match="unknown weight format 'q8' — did you mean 'q8_0'"):
        storages_named("q8")


def test_a_format_that_people_name_is_the_same_everywhere():
    by_channel = {storage for storage, layout in LAYOUTS.items() if layout.row_bytes}
    assert set(storages_named("int8")) == by_channel
    assert all(storages_named(name) == (storage,) for name, storage in WEIGHT_FORMATS.items() if name != "int8")
    stored_so = {stored.storage for stored in STORED_FORMATS.values()}
    for name in (name for name in WEIGHT_FORMATS if stored_so & set(storages_named(name))):
        assert STORED_FORMATS[format_named(name)].storage in storages_named(name)
        assert stored_for(name, None).storage in storages_named(name)
