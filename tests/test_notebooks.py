"""The notebooks of analysis/ agree with their sources, run from the published tables, and are short."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import scaling

ANALYSIS = Path(__file__).resolve().parents[1] / "analysis"
spec = importlib.util.spec_from_file_location("build_notebooks", ANALYSIS / "build_notebooks.py")
build_notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build_notebooks)
each = pytest.mark.parametrize("source", build_notebooks.SOURCES, ids=lambda path: path.stem)


def cells(source: Path) -> list[tuple[str, str]]:
    return build_notebooks.cells(source.read_text("utf-8"))


def code(source: Path) -> str:
    return "\n".join(text for kind, text in cells(source) if kind == "code")


def test_there_are_notebooks():
    assert len(build_notebooks.SOURCES) >= 8


@each
def test_a_notebook_is_its_source_executed(source):
    notebook = json.loads(source.with_suffix(".ipynb").read_text("utf-8"))
    written = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert written == cells(source), f"build it again: python analysis/build_notebooks.py {source.stem}"
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert all(cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert source.with_suffix(".ipynb").stat().st_size < 300_000


@each
def test_a_notebook_is_short_opens_with_a_question_and_ends_with_takeaway_and_caveat(source):
    found = cells(source)
    assert len(found) <= 15
    assert max(len(text.splitlines()) for _, text in found) <= 12
    assert found[0][0] == found[-1][0] == "markdown"
    assert found[0][1].splitlines()[0].endswith("?")
    assert re.search(r"\*\*Takeaway: .+\*\*\n\nCaveat: ", found[-1][1], flags=re.DOTALL)


@each
def test_a_notebook_asks_the_public_interface_alone_and_defines_nothing(source):
    tree = ast.parse(code(source))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"numpy", "pandas", "scaling"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert set(re.findall(r"\bscaling\.(\w+)", code(source))) <= set(scaling.__all__)


@pytest.mark.slow
@each
def test_a_source_runs_from_the_published_tables(source):
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(ANALYSIS.parent)}
    command = [sys.executable, "-W", "error", source.name]
    done = subprocess.run(command, cwd=ANALYSIS, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
