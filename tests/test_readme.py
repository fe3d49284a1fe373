"""The README keeps its word: its commands parse, its code runs, files exist, every room is on the map."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from scaling.config.load import load_sweep
from tests.headers import read_header

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def fences(text: str) -> list[tuple[str, str]]:
    """Fenced blocks as pairs of language and content; the language of a bare fence is empty."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Lines of fences, and code between single backticks, that call a program of the project."""
    lines = [line.split(" #")[0].removeprefix("$ ").strip() for _, block in fences(text) for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`([^`\n]+)`", prose)
    return sorted({line for line in lines if line.startswith(("scaling ", "make ", "python "))})


def box() -> list[tuple[str, list[str]]]:
    """The commands of the README that stand with what they print, each with its lines."""
    shown = [block for language, block in fences(README) if not language and block.startswith("$ ")]
    parts = [part.splitlines() for block in shown for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, [line for line in lines if line != "…"]) for command, *lines in parts]


def code(language: str) -> list[str]:
    found = [block for name, block in fences(README) if name == language]
    assert found, f"the README shows no {language}"
    return found


def parse(line: str) -> None:
    """Let the command line read its words as it would, without doing anything."""
    import typer

    from scaling.cli import app

    _, name, *words = shlex.split(line)
    group = typer.main.get_command(app)
    command = group.commands[name]
    # A command that is only named in a sentence has no words to check.
    if words:
        command.make_context(name, words)


def test_commands_are_found_in_every_kind_of_fence_and_in_prose():
    text = "```\nmake demo   # all\n```\n```bash\nscaling plan a.yaml\n```\nand `scaling run b.yaml`, `law`\n"
    assert commands(text) == ["make demo", "scaling plan a.yaml", "scaling run b.yaml"]
    assert len([line for line in commands(README) if line.startswith("scaling ")]) >= 5
    assert {"make demo", "make test"} <= set(commands(README))


@pytest.mark.parametrize(
    "line", ["scaling plan a.yaml --jbos 2", "scaling plan a.yaml b.yaml", "scaling plan --jobs two"]
)
def test_a_command_with_a_wrong_word_is_seen(line):
    with pytest.raises(Exception, match="jbos|without an option before it|valid integer"):
        parse(line)


@pytest.mark.parametrize("line", [line for line in commands(README) if line.startswith("scaling ")])
def test_a_command_of_the_readme_parses(line):
    parse(line)


def run(command: str, monkeypatch, tmp_path) -> None:
    """Do what a line of the README says, in this process; a script's figure stays as it is."""
    from scaling.cli import main

    program, *words = shlex.split(command)
    if program == "python":
        path = ROOT / words[0]
        monkeypatch.syspath_prepend(path.parent)
        script = importlib.import_module(path.stem)
        monkeypatch.setattr(script, "FIGURE", tmp_path / "figure.png")
        script.main()
        return
    monkeypatch.setattr("sys.argv", [program, *words])
    with contextlib.suppress(SystemExit):
        main()


@pytest.mark.parametrize(("command", "lines"), box())
def test_a_command_of_the_box_prints_what_stands_below_it(command, lines, capsys, monkeypatch, tmp_path):
    run(command, monkeypatch, tmp_path)
    out, errors = capsys.readouterr()
    printed = [line.rstrip() for line in out.splitlines()]
    assert (errors, bool(lines)) == ("", True)
    assert [line for line in printed if line in lines] == lines


def test_the_question_is_answered_in_three_commands():
    asked = [command for command, _ in box() if command.startswith("scaling ")]
    assert [command.split()[:2] for command in asked] == [["scaling", "predict"], *[["scaling", "footprint"]] * 2]


@pytest.mark.parametrize("line", [line for line in commands(README) if line.startswith(("make ", "python "))])
def test_a_make_target_or_script_of_the_readme_exists(line):
    program, target, *_ = shlex.split(line)
    if program == "make":
        assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE)
    else:
        assert (ROOT / target).is_file()


@pytest.mark.parametrize("block", code("python"))
def test_the_python_of_the_readme_runs(block, tmp_path, monkeypatch):
    folder = tmp_path / "results" / "quickstart"
    folder.mkdir(parents=True)
    pd.read_csv(ROOT / "results/reference/quickstart.csv").to_parquet(folder / "runs.parquet")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("block", code("yaml"))
def test_the_yaml_of_the_readme_is_part_of_a_sweep(block, tmp_path):
    inside = "".join(f"  {line}\n" for line in block.splitlines())
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: readme\nbase:\n  model: {{width: 64, n_layers: 2, context: 128}}\n  tokens: 1M\n{inside}")
    assert load_sweep(path).name == "readme"


def test_the_two_commands_stand_on_the_first_screen():
    first = "\n".join(README.splitlines()[:20])
    assert "make demo" in first
    assert "make test" in first


def test_the_first_screen_is_a_figure_six_lines_and_the_whole_answer():
    first, _, _ = README.partition("\n## ")
    assert len(re.findall(r"^- ", first, flags=re.MULTILINE)) == 6
    assert re.search(r"^!\[.+\]\(.+\.png\)$", first, flags=re.MULTILINE)
    (lines,) = (lines for command, lines in box() if command == "python analysis/answer.py")
    assert f"```\n$ python analysis/answer.py\n{chr(10).join(lines)}\n```" in first, "every line of it"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_leads_to_a_file_of_the_project(target):
    assert "://" not in target
    assert (ROOT / target).exists()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "results/README.md", "analysis/LOG.md"])
def test_the_paths_that_a_page_names_exist(page):
    text = (ROOT / page).read_text("utf-8")
    paths = set(re.findall(r"`(?:python )?((?:scaling|sweeps|analysis|tests)/[\w./-]*)", text))
    assert paths
    assert not {path for path in paths if not (ROOT / path).exists()}


def test_the_groups_of_entry_points_are_those_that_registries_read():
    told = set(re.findall(r"`(scaling\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    code = "".join(path.read_text("utf-8") for path in (ROOT / "scaling").rglob("*.py"))
    read = set(re.findall(r'group="(scaling\.\w+)"', code))
    assert told
    assert told <= read


def test_every_room_is_on_the_map():
    rooms = {p.name for p in (ROOT / "scaling").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    named = set(re.findall(r"\w+\.py|(?<=scaling/)\w+(?=/)", README))
    assert not rooms - {"__init__.py", "__main__.py"} - named


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_every_sweep_opens_with_question_command_cost_and_expectation(path):
    header = read_header(path)
    assert f"sweeps/{path.name}" in header.command
    # From an idle server core with AVX-512 to one without it.
    low, high = map(int, re.search(r"(\d+) to (\d+) minutes", header.cost).groups())
    assert low < high
