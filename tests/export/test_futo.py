"""A file for FUTO Keyboard: the keys that its app reads, and refusal of what is missing, key by key."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scaling.accounting import symbol_layout
from scaling.compress.student import quantize
from scaling.data.tokenizers import Tokenizer
from scaling.errors import ExportError
from scaling.export.format import EXPORT_FORMATS
from scaling.export.futo import AUTOCORRECT, BASE, LETTERS, MARKS, MIXING, Keyboard, export_futo, missing
from scaling.export.hostile import hostile_texts
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.formats.sentencepiece import byte_model
from scaling.spec import ModelSpec
from scaling.train.student.model import Student, to_tensors

gguf = pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")

BYTES = Tokenizer().to_gguf()
MODEL = ModelSpec(vocab_size=257, width=32, n_layers=1, context=40)
KEYBOARD = Keyboard(languages=("en-US",), author="A. Student", license="MIT")


@pytest.fixture
def bundle(tmp_path):
    """What is asked of a bundle."""
    path = tmp_path / "model.gguf"
    write_gguf(path, quantize(to_tensors(Student(MODEL, seed=1))).tensors, model=MODEL, tokenizer=BYTES)
    manifest = SimpleNamespace(format="gguf", run_id="0123456789", provenance=None)
    return SimpleNamespace(manifest=manifest, read=lambda: EXPORT_FORMATS["gguf"].read(path))


def test_the_file_has_every_key_in_the_type_that_the_app_reads(bundle, tmp_path):
    path = export_futo(bundle, tmp_path / "futo.gguf", KEYBOARD)
    reader = gguf.GGUFReader(path)
    assert int.from_bytes(path.read_bytes()[4:8], "little") == 2
    types = {key: [kind.name for kind in field.types] for key, field in reader.fields.items() if "keyboardlm" in key}
    assert types == {
        "keyboardlm.languages": ["STRING"],
        "keyboardlm.finetuning_count": ["UINT32"],
        "keyboardlm.history": ["STRING"],
        "keyboardlm.features": ["STRING"],
        "keyboardlm.ext_tokenizer_type": ["STRING"],
        "keyboardlm.ext_tokenizer_data": ["ARRAY", "UINT8"],
    }
    assert reader.fields["keyboardlm.languages"].contents() == "en-US"
    assert bytes(reader.fields["keyboardlm.ext_tokenizer_data"].contents()) == byte_model(BYTES)


def test_its_weights_are_those_of_the_bundle_with_an_output_matrix(bundle, tmp_path):
    back = read_gguf(export_futo(bundle, tmp_path / "futo.gguf", KEYBOARD))
    before = bundle.read()
    assert not back.model.tied_embeddings
    assert np.array_equal(back.tensors.pop("output.weight"), before.tensors["token_embd.weight"])
    assert all(np.array_equal(back.tensors[key], before.tensors[key]) for key in before.tensors)


def test_llama_cpp_runs_it(bundle, tmp_path):
    pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
    from scaling.export.engines.llama_cpp import LlamaCpp

    path = export_futo(bundle, tmp_path / "futo.gguf", KEYBOARD)
    assert LlamaCpp().run(path, [256, 65], n_tokens=4, context=40, repeats=0).token_ids


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"languages": ()}, "keyboardlm.languages: missing — say which, as --language en-US"),
        ({"author": ""}, "general.author: missing — say it with --author"),
        ({"license": "unspecified"}, "general.license: missing — say it with --license"),
        ({"features": (BASE, "telepathy")}, "keyboardlm.features: telepathy is not known"),
        ({"features": (BASE, AUTOCORRECT)}, f"{AUTOCORRECT} without {MIXING} ends the app"),
        ({"features": (BASE, AUTOCORRECT, MIXING)}, "tokens: missing <XBU>, <XBC>, <XEC> and 26 more, which"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_written(bundle, tmp_path, changes, said):
    with pytest.raises(ExportError, match="FUTO Keyboard would not take this student") as error:
        export_futo(bundle, tmp_path / "futo.gguf", replace(KEYBOARD, **changes))
    assert said in str(error.value)
    assert not (tmp_path / "futo.gguf").exists()


def test_tokens_that_sentencepiece_cannot_cut_and_formats_that_its_engine_cannot_read_are_refused():
    world = missing("gguf_f32", symbol_layout(65), KEYBOARD)
    assert [one.split(":")[0] for one in world] == ["format", "keyboardlm.ext_tokenizer_data"]
    assert "train one with tokenizer kind bytes" in world[1]


@pytest.mark.parametrize(("swap", "wrong"), [(False, False), (True, True)])
def test_letters_must_stand_in_a_row(swap, wrong):
    letters = [*LETTERS[1:], LETTERS[0]] if swap else LETTERS
    tokens = (*MARKS, *letters)
    layout = replace(BYTES, tokens=tokens, token_types=(3,) * len(tokens), bos_id=0, eos_id=0)
    found = missing("gguf", layout, replace(KEYBOARD, features=(BASE, AUTOCORRECT, MIXING)))
    assert any("must be 26 ids in a row" in one for one in found) is wrong


@pytest.mark.parametrize("n", [1, 2, 3, 4, len(MARKS + LETTERS)])
def test_missing_tokens_are_named_and_counted(n):
    tokens = (MARKS + LETTERS)[n:] or ("a",)
    layout = replace(BYTES, tokens=tokens, token_types=(3,) * len(tokens), bos_id=0, eos_id=0)
    found = missing("gguf", layout, replace(KEYBOARD, features=(BASE, AUTOCORRECT, MIXING)))
    (said,) = (one for one in found if one.startswith("tokens:"))
    named = ", ".join((MARKS + LETTERS)[:n][:3]) + (f" and {n - 3} more" if n > 3 else "")
    assert said == f"tokens: missing {named}, which {AUTOCORRECT} types in"


def test_sentencepiece_cuts_text_into_the_bytes_of_the_student():
    library = pytest.importorskip("sentencepiece", reason="the other side of the check: pip install sentencepiece")
    read = library.SentencePieceProcessor()
    read.LoadFromSerializedProto(byte_model(BYTES))
    assert read.GetPieceSize() == 257
    for text in hostile_texts():
        assert read.EncodeAsIds(text) == Tokenizer().encode(text).tolist(), repr(text)
