"""ONNX files run for real in ONNX Runtime: their probabilities are JAX's, and damage to them is a sentence."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from scaling.accounting import STORED_FORMATS, symbol_layout
from scaling.compress.student import quantize
from scaling.data.tokenizers import Tokenizer
from scaling.errors import EngineError, ExportError
from scaling.export.bundle.card import CARD_FILE
from scaling.export.bundle.files import export
from scaling.export.engine import FileRefusedError, engine_for
from scaling.export.format import EXPORT_FORMATS
from scaling.export.verify import verify
from scaling.formats.onnx import read_onnx, write_onnx
from scaling.predict.phones.footprint import footprint
from scaling.spec import ModelSpec
from scaling.train.student.model import Student, from_tensors, to_tensors

pytest.importorskip("onnx", reason="writes ONNX files: pip install 'scaling[onnx]'")
pytest.importorskip("onnxruntime", reason="runs ONNX files: pip install 'scaling[onnx]'")

GROUPED = ModelSpec(vocab_size=65, width=64, n_layers=2, n_heads=4, n_kv_heads=2, context=40)
DEEP = ModelSpec(vocab_size=65, width=32, n_layers=104, context=40)
WIDE = ModelSpec(vocab_size=257, width=96, n_layers=3, head_width=64, n_heads=2, context=64, tied_embeddings=False)


@pytest.mark.parametrize("model", [GROUPED, WIDE, DEEP], ids=["grouped", "untied", "deep"])
@pytest.mark.parametrize("scheme", ["f32", "q8_0"])
def test_a_file_gives_back_what_was_written_and_has_the_bytes_that_were_forecast(tmp_path, model, scheme):
    student = quantize(to_tensors(Student(model, seed=1)), scheme)
    tokenizer = symbol_layout(model.vocab_size)
    size = write_onnx(tmp_path / "m.onnx", student.tensors, model=model, tokenizer=tokenizer, about={"name": "süd"})
    back = read_onnx(tmp_path / "m.onnx")
    assert (back.model, back.tokenizer, back.about) == (model, tokenizer, {"name": "süd"})
    expected = student.dequantize()
    assert back.tensors.keys() == expected.keys()
    assert all(np.array_equal(back.tensors[key], expected[key]) for key in expected)
    stored = STORED_FORMATS["onnx" if scheme == "q8_0" else "onnx_f32"]
    assert stored.bytes_of(model, tokenizer, stored.storage) == size


@pytest.mark.parametrize("model", [GROUPED, WIDE], ids=["grouped", "untied"])
def test_the_engine_gives_every_token_the_probability_that_jax_gives(tmp_path, model):
    import jax

    path = tmp_path / "m.onnx"
    tensors = to_tensors(Student(model, seed=2))
    write_onnx(path, tensors, model=model, tokenizer=symbol_layout(model.vocab_size))
    sequences = np.random.default_rng(0).integers(0, model.vocab_size, (3, 12)).astype(np.int32)
    found = engine_for("onnx_f32").log_probs(
        path, sequences, tokenizer=symbol_layout(model.vocab_size), context=model.context
    )
    expected = np.asarray(jax.nn.log_softmax(from_tensors(model, tensors)(sequences)))
    assert np.max(np.abs(found - expected)) < 1e-4


@pytest.mark.parametrize("format", ["onnx", "onnx_f32"])
def test_an_export_is_verified_by_a_real_engine(store, run, forecast, tmp_path, format):
    bundle = export(store, run, tmp_path / "bundle", format=format)
    loss = store.load(run.run_id).outcome.loss
    asked = forecast(run, loss, memory=footprint(run.model, format=format))
    found = verify(bundle, store, asked, engine_tokens=80, device_name="redmi-note-12")
    assert [(check.name, check.note) for check in found.checks if check.kind == "promise" and not check.passed] == []
    assert found.in_engine.error is None
    assert found.in_engine.greedy.n_tokens == 16
    assert abs(found.in_engine.cost.increase) < (1e-3 if format == "onnx" else 1e-5)
    assert found.in_engine.run.engine.startswith("ONNX Runtime ")
    # Nobody measured this engine on the device: the constants of another are not borrowed.
    (speed,) = (check for check in found.checks if check.name == "tokens/s")
    assert (found.speed, speed.expected, speed.passed) == (None, "not forecast", None)


def test_the_command_of_a_card_runs_the_student(store, run, tmp_path):
    pytest.importorskip("tokenizers", reason="cuts the text of the command: pip install 'scaling[text]'")
    bundle = export(store, run, tmp_path / "bundle", format="onnx")
    command = re.search(r"```\n(python .*)\n```", (bundle.path / CARD_FILE).read_text()).group(1)
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=bundle.path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("!A")


def test_the_engine_cuts_text_as_the_student_does(tmp_path):
    pytest.importorskip("tokenizers", reason="cuts text: pip install 'scaling[text]'")
    with pytest.raises(EngineError, match="tokenizer.json: no text can be cut"):
        engine_for("onnx").tokenize(tmp_path / "model.onnx", ["a"])
    from scaling.export.bundle.tokenizer_json import tokenizer_json
    from scaling.files import write_json

    write_json(tmp_path / "tokenizer.json", tokenizer_json(Tokenizer().to_gguf()))
    assert engine_for("onnx").tokenize(tmp_path / "model.onnx", ["a", "é"]) == [[97], [195, 169]]


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_the_reader_and_by_the_engine(tmp_path, kept):
    path = tmp_path / "m.onnx"
    write_onnx(path, to_tensors(Student(GROUPED, seed=1)), model=GROUPED, tokenizer=symbol_layout(65))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ExportError, match="not an ONNX file of a student"):
        read_onnx(path)
    with pytest.raises(FileRefusedError, match="ONNX Runtime could not run"):
        engine_for("onnx").run(path, [1], n_tokens=1, context=40)


def test_what_the_format_cannot_hold_is_refused_with_the_reason():
    narrow = ModelSpec(vocab_size=65, width=32, head_width=8, n_heads=4, context=40)
    assert EXPORT_FORMATS["onnx"].objection(narrow) == "heads of 8 values are no multiple of 16"
    student = quantize(to_tensors(Student(GROUPED)), "q4_0")
    with pytest.raises(ExportError, match="onnx stores matrices as q8_0: the student is q4_0"):
        EXPORT_FORMATS["onnx"].write(None, student, model=GROUPED, tokenizer=None, about=None)
