"""C++ is done without where it cannot be had, and says why where it is asked for."""

from __future__ import annotations

import re

import jax
import pytest

from scaling.errors import TrainError
from scaling.train.native import library as libraries
from scaling.train.native import parts
from scaling.train.native.library import library
from scaling.train.native.parts import ATTENTION, PRODUCTS

needs_compiler = pytest.mark.skipif(ATTENTION.kind() != "native", reason="this machine compiles no C++")


@pytest.fixture
def asked_anew(monkeypatch):
    """As in a new process, but for what jax knows already."""
    parts._kind.cache_clear()
    yield monkeypatch
    parts._kind.cache_clear()


@pytest.mark.parametrize(
    ("compiler", "why"),
    [
        ("/nowhere/c++", "no compiler /nowhere/c++"),
        ("false", "could not be compiled"),
        ("true", "could not be compiled"),  # says yes and makes nothing
    ],
)
def test_without_a_compiler_it_is_done_without(asked_anew, tmp_path, compiler, why):
    asked_anew.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked_anew.setenv("CXX", compiler)
    assert ATTENTION.kind() == "xla"
    asked_anew.setenv(ATTENTION.switch, "native")
    with pytest.raises(TrainError, match=f"SCALING_ATTENTION is native, but .*{why}.*unset"):
        ATTENTION.kind()
    assert not list(tmp_path.glob("scaling/native/*"))


def test_a_cache_that_cannot_be_written_is_done_without(asked_anew, tmp_path):
    (tmp_path / "scaling").write_text("a file where a folder would be")
    asked_anew.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ATTENTION.kind() == "xla"


@pytest.mark.parametrize(
    ("missing", "why"), [("amx_bf16", "no amx_bf16"), ("amx_tile amx_bf16", "no amx_bf16, amx_tile")]
)
def test_a_processor_without_what_a_part_needs_does_without(asked_anew, missing, why):
    able = " ".join(sorted(PRODUCTS.needs - set(missing.split())))
    asked_anew.setattr(parts, "processor", lambda: able)
    assert PRODUCTS.kind() == "xla"
    asked_anew.setenv(PRODUCTS.switch, "native")
    with pytest.raises(TrainError, match=f"SCALING_PRODUCTS is native, but the processor has {why}; unset"):
        PRODUCTS.kind()


def test_a_system_that_does_not_lend_the_unit_does_without(asked_anew):
    class Refusing:
        def permitted(self) -> int:
            return 0

    asked_anew.setattr(parts, "processor", lambda: " ".join(PRODUCTS.needs))
    asked_anew.setattr(parts, "library", lambda name: f"{name}.so")
    asked_anew.setattr(parts.ctypes, "CDLL", lambda path: Refusing())
    assert PRODUCTS.kind() == "xla"
    asked_anew.setenv(PRODUCTS.switch, "native")
    with pytest.raises(TrainError, match="the system does not permit it"):
        PRODUCTS.kind()


def test_several_devices_and_accelerators_are_left_to_xla(asked_anew):
    asked_anew.setattr(jax, "device_count", lambda: 2)
    assert ATTENTION.kind() == "xla"


def test_what_is_asked_for_is_one_of_two(asked_anew):
    asked_anew.setenv(ATTENTION.switch, "fast")
    with pytest.raises(TrainError, match="'fast' — native or xla"):
        ATTENTION.kind()


@needs_compiler
@pytest.mark.slow
def test_another_processor_compiles_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = library("attention")
    assert library("attention") == first
    monkeypatch.setattr(libraries, "processor", lambda: "another one, which shares the cache")
    assert library("attention") != first
    assert sorted(first.parent.iterdir()) == sorted([first, library("attention")])


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut off", "empty", "a folder"])
def test_a_damaged_file_in_the_cache_is_compiled_anew_or_done_without(monkeypatch, tmp_path, damage):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = library("attention")
    whole = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
        with pytest.raises(OSError, match=re.escape(path.name)):
            library("attention")
        return
    path.write_bytes(whole[: len(whole) // 3] if damage == "cut off" else b"")
    assert library("attention") == path
    assert len(path.read_bytes()) == len(whole)


@needs_compiler
def test_a_compiler_is_heard_in_whatever_letters_it_complains(asked_anew, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_bytes(b"#!/bin/sh\nprintf '\\351chec\\nmore\\n' >&2\nexit 1\n")
    compiler.chmod(0o755)
    asked_anew.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked_anew.setenv("CXX", f"{compiler} -O2")
    assert ATTENTION.why_not() == "it could not be compiled: \N{REPLACEMENT CHARACTER}chec"
