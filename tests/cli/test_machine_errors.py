"""What this machine cannot do is said in one line, with exit code 75, by every command."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scaling.cli import main
from scaling.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED, EXIT_USAGE, MachineError

ROOT = Path(__file__).resolve().parents[2]
SWEEP = str(ROOT / "sweeps" / "quickstart.yaml")
FIT = ROOT / "tests" / "predict" / "first_layout" / "fit.json"


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


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(monkeypatch, capsys, tmp_path):
    shutil.copy(FIT, tmp_path)

    def read_only(path, *_arguments):
        raise MachineError(f"{path}: the file system is read-only")

    monkeypatch.setattr("scaling.chain.decision.write_json", read_only)
    asked = ("recommend", "--fit", str(tmp_path / "fit.json"), "--sweep", SWEEP, "--target-loss", "1.85")
    monkeypatch.setattr(sys, "argv", ["scaling", *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == EXIT_PREEMPTED
    assert said.out.startswith("recommended: width")
    assert "recommendation.json: the file system is read-only" in said.err


def test_a_path_that_is_not_utf8_is_refused_before_a_library_fails_on_it(monkeypatch, capsys, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/results\xff")
    code, said = run(monkeypatch, capsys, "sweep", SWEEP, "--results", folder)
    assert code == EXIT_USAGE
    assert "its name is not UTF-8" in said
    assert not list(tmp_path.iterdir())


def test_a_terminal_that_knows_few_letters_gets_the_answer_in_those():
    command = [sys.executable, "-m", "scaling", "predict", "--law", "besiroglu", "--params", "1e6"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"\\u221e" in done.stdout


def test_ctrl_c_ends_a_command_with_130_and_the_command_that_goes_on(monkeypatch, capsys):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scaling.chain.workspace.Workspace.open", interrupted)
    code, said = run(monkeypatch, capsys, "plan", SWEEP, "--set", "name=a b")
    assert code == EXIT_INTERRUPTED
    assert said == f"interrupted; what was finished is kept — go on with: scaling plan {SWEEP} --set 'name=a b'"


@pytest.mark.parametrize(
    "arguments", [("plan", "{}/one.yaml"), ("fit", "{}/one.csv"), ("status", SWEEP, "--results", "{}")]
)
def test_what_one_may_not_read_is_the_machines_fault_whatever_it_is(monkeypatch, capsys, tmp_path, arguments):
    def denied(path, *_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for name in ("one.yaml", "one.csv", "schema.json"):
        (tmp_path / name).write_text("{}")
    own, access = os.access, lambda path, *mode, **how: False if str(tmp_path) in str(path) else own(path, *mode, **how)
    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(Path, "open", denied)
    code, said = run(monkeypatch, capsys, *(word.format(tmp_path) for word in arguments))
    assert code == EXIT_PREEMPTED, said
    assert "Permission denied — permission is denied; name another folder, or change its permissions" in said
