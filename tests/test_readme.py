"""The README keeps its word: files exist, commands parse, every room is on the map."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scaling.config.load import read_header

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("scaling ", "make "))]


def options_of(command: str) -> set[str]:
    import typer

    from scaling.cli import app

    group = typer.main.get_command(app)
    return {option for parameter in group.commands[command].params for option in parameter.opts}


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("scaling ")])
def test_a_command_of_the_readme_exists_with_its_options(line):
    _, command, *rest = shlex.split(line)
    given = {word for word in rest if word.startswith("--")}
    assert given <= options_of(command)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_a_make_target_of_the_readme_exists(line):
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)


def test_the_two_commands_stand_on_the_first_screen():
    first = "\n".join(README.splitlines()[:20])
    assert "make demo" in first
    assert "make test" in first


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_leads_to_a_file_of_the_project(target):
    assert "://" not in target
    assert (ROOT / target).exists()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:scaling|sweeps|analysis|tests|results)/[\w./-]*)`", README)))
)
def test_a_path_of_the_map_exists(path):
    assert (ROOT / path).exists()


def test_every_room_is_on_the_map():
    rooms = {p.name for p in (ROOT / "scaling").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    named = set(re.findall(r"[\w]+\.py|(?<=scaling/)\w+(?=/)", README))
    assert rooms - {"__init__.py", "__main__.py"} <= named


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_every_sweep_opens_with_question_command_cost_and_expectation(path):
    header = read_header(path)
    assert f"sweeps/{path.name}" in header.command
