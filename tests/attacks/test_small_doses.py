"""Smaller doses than the attacks' own, often enough to notice when something gives way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engine_faults
import full_disks
import pytest
import text_mutants
import worker_pauses
import worker_storm
from summary import Summary, print_summary, read_summary

from scaling.export.engines import llama_cpp

HERE = Path(__file__).parent


@pytest.mark.slow
def test_every_run_ends_once_and_alike_under_kills_pauses_torn_and_deleted_files_and_wrong_clocks():
    dose = worker_storm.Dose(kills=8, pauses=6, torn=6, deleted=4)
    report = worker_storm.attack(dose, trunks=10, workers=3, limit_s=240, seed=1)
    assert report.violations == 0, report
    for name, wanted in vars(dose).items():
        assert getattr(report, name) >= wanted, f"the storm was over before there were enough {name}"


@pytest.mark.slow
def test_a_worker_that_sleeps_at_any_line_harms_nothing_of_who_took_over():
    violations, _ = worker_pauses.attack(4, seed=1)
    assert violations == 0


def test_a_full_or_read_only_disk_fails_no_run():
    try:
        _, violations, _ = full_disks.attack(4, seed=1)
    except full_disks.NoDisk as error:
        pytest.skip(str(error))
    assert violations == 0


def test_damaged_texts_tokenizers_and_tables_are_read_or_refused_by_name():
    _, violations, _ = text_mutants.attack(150, seed=1)
    assert violations == 0


@pytest.mark.slow
def test_engines_that_crash_flood_or_lie_are_errors_and_leave_no_process(monkeypatch):
    pytest.importorskip("xllamacpp", reason="the engine is not installed: extra [export]")
    monkeypatch.setattr(llama_cpp, "WORKER", llama_cpp.WORKER)  # the attack puts another in its place
    violations, _ = engine_faults.attack(12, seed=1)
    assert violations == 0


def test_a_summary_is_read_as_it_was_printed(capsys):
    print_summary("toy", tried=7, violations=2, slowest_s=0.25)
    found = read_summary(capsys.readouterr().out)
    assert (found.name, found.tried, found.violations, found.slowest_s) == ("toy", 7, 2, 0.25)
    line = "gguf mutants: 10 tried, 1 read, 9 refused, 0 violations; peak memory 99 MiB, slowest 0.010 s"
    assert read_summary(line) == Summary("gguf mutants", 10, 0, 99, 0.01)
    assert read_summary("done") is None


def test_an_attack_that_is_not_there_is_refused_with_those_that_are():
    command = [sys.executable, "-m", "tests.attacks", "nuke"]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no attack nuke; there are" in done.stderr
    assert "worker_storm" in done.stderr
