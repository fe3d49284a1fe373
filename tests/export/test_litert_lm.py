"""A .litertlm file made and run by LiteRT-LM, in the environment that ``SCALING_LITERT_PYTHON`` names; and refusals."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scaling.accounting import symbol_layout
from scaling.errors import EngineError, ExportError, SpecError
from scaling.export.bundle.files import export
from scaling.export.interpreters import LITERT_LM
from scaling.export.litert_lm import _check, export_litert_lm
from scaling.predict.question import format_named


@pytest.mark.parametrize("format", ["litert", "litert_f32"])
def test_the_engine_writes_with_the_file_what_litert_writes_with_the_bundle(store, run, tmp_path, format):
    try:
        for package in ("litert-converter", "litert-lm-builder", "litert-lm-api"):
            LITERT_LM.version(package)
    except EngineError as error:
        pytest.skip(str(error).splitlines()[0])
    bundle = export(store, run, tmp_path / "bundle", format=format)
    found = export_litert_lm(bundle, tmp_path / "student.litertlm")
    # It is refused where it writes otherwise; the cache holds 40 tokens, of which three are the prompt.
    assert len(found.written) >= 16
    assert found.engine.startswith("LiteRT-LM ")
    assert found.path.stat().st_size == found.n_bytes > bundle.model_path.stat().st_size
    assert found.path.read_bytes().startswith(b"LITERTLM")
    assert found.texts_equal[1] == 200


def test_without_the_engine_it_is_said_how_to_get_it_and_no_file_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv(LITERT_LM.variable, "/nowhere/python")
    file = SimpleNamespace(tokenizer=symbol_layout(65))
    bundle = SimpleNamespace(manifest=SimpleNamespace(format="litert"), read=lambda: file)
    with pytest.raises(ExportError, match=r"no \.litertlm file was made: /nowhere/python: .* litert-lm-builder=="):
        export_litert_lm(bundle, tmp_path / "student.litertlm")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_litert_does_not_run_is_refused_and_a_format_of_that_name_says_where_it_is(tmp_path):
    bundle = SimpleNamespace(manifest=SimpleNamespace(format="gguf"))
    with pytest.raises(ExportError, match="the bundle is gguf — export it as litert or litert_f32"):
        export_litert_lm(bundle, tmp_path / "student.litertlm")
    with pytest.raises(SpecError, match="write it with --format litert --target litert-lm"):
        format_named("litertlm")


def test_what_the_engine_writes_otherwise_is_refused_with_both_texts():
    _check("the people", "the people of", "LiteRT-LM 1")
    _check("the people\ufffd", "the peopl", "LiteRT-LM 1")
    for told in ("the cat", ""):
        with pytest.raises(ExportError, match=f"LiteRT-LM 1 writes '{told}' .* where LiteRT writes 'the people'"):
            _check(told, "the people", "LiteRT-LM 1")
