"""What this machine cannot do is said in one line, with exit code 75, by every command."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from scaling.cli import main
from scaling.errors import EXIT_PREEMPTED

SWEEP = str(Path(__file__).resolve().parents[2] / "sweeps" / "quickstart.yaml")


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["scaling", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err.strip()


@pytest.mark.parametrize("command", ["sweep", "run", "status", "fit", "worker"])
def test_a_file_where_the_results_folder_should_be_is_said_by_every_command(monkeypatch, capsys, tmp_path, command):
    (tmp_path / "results").write_text("a file")
    code, said = run(monkeypatch, capsys, command, SWEEP, "--results", str(tmp_path / "results"))
    assert code == EXIT_PREEMPTED
    assert said.startswith("error: ")
    assert "a file is where a folder should be; move it away, or name another folder" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_an_error_of_the_system_that_no_stage_expected_is_one_line(monkeypatch, capsys, number):
    def unlucky(*_arguments, **_options):
        raise OSError(number, os.strerror(number), "/results/fit.json")

    monkeypatch.setattr("scaling.chain.workspace.Workspace.open", unlucky)
    code, said = run(monkeypatch, capsys, "sweep", SWEEP)
    assert code == EXIT_PREEMPTED
    assert said.startswith(f"error: /results/fit.json: {os.strerror(number)} — ")
    assert "\n" not in said
