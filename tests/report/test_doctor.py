"""The doctor says what a machine has, and why what it lacks is not used."""

from __future__ import annotations

import importlib.metadata

import pytest

from scaling.report import doctor
from scaling.report.doctor import examine, show_health
from scaling.train.native import parts
from scaling.train.native.parts import PARTS


def test_a_machine_that_runs_the_tests_is_healthy(tmp_path):
    found = examine(tmp_path / "results" / "not there yet")
    assert found.healthy
    assert all(found.versions.values())
    assert found.devices
    assert found.cores > 0
    assert set(found.native) == {part.name for part in PARTS}


def test_what_is_missing_comes_with_its_remedy(tmp_path, monkeypatch, capsys):
    def version(name: str) -> str:
        if name in ("optax", "tokenizers"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "LEAST_DISK", 2**80)
    found = examine(tmp_path)
    assert not found.healthy
    show_health(found)
    said = capsys.readouterr().out
    assert "optax is missing: pip install scaling" in said
    assert "extra [text] is not complete (tokenizers): pip install" in said
    assert "are free under" in said


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_it_says_why_a_part_of_a_step_is_not_in_cxx(part, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parts, "processor", lambda: "avx512f amx_tile amx_bf16")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "/nowhere/c++")
    show_health(examine(tmp_path))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{part.name} in C++")]
    assert "no: it could not be compiled: no compiler /nowhere/c++; install one, or name it in CXX" in line
