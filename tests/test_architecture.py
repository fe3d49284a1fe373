"""How the house is built: who may import whom, no circles, files and functions that one can read.

The rank table below is the documentation: a module imports lower ranks only, equal ranks never.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scaling"

RANKS = {
    "dimensions": 0,
    "errors": 0,
    "machine": 0,
    "packages": 0,
    "files": 1,
    "numbers": 1,
    "registry": 1,
    "stop": 1,
    "shown": 2,
    "spec": 2,
    "tables": 2,
    "accounting": 3,
    "laws": 3,
    "records": 4,
    "formats": 4,
    "data": 5,
    "fit": 5,
    "curves": 5,
    "config": 6,
    "train": 6,
    "predict": 7,
    "teach": 7,
    "sweep": 8,
    "compress": 8,
    "export": 9,
    "chain": 10,
    "report": 11,
    "cli": 12,
    "__main__": 13,
}

PAPER_HALF = ("spec", "tables", "accounting", "laws", "records", "formats", "data", "fit", "curves", "config")
PAPER_HALF += ("predict",)

# Functions of 25 lines and more that no comment explains. It falls and never rises.
UNEXPLAINED = 3


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def file_of(name: str, package: Path) -> Path | None:
    """The file of a dotted name, None where no module of the package has that name."""
    place = package.parent.joinpath(*name.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()), None)


def imported_files(path: Path, package: Path) -> set[Path]:
    """Files of the package that one names in any import: at the top, in functions, under TYPE_CHECKING."""
    files = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            # `from scaling.fit import stack` means the module stack, where there is one.
            assert node.level == 0, f"{path}:{node.lineno} imports by a relative name"
            for alias in node.names:
                files.add(file_of(f"{node.module}.{alias.name}", package) or file_of(node.module, package))
        elif isinstance(node, ast.Import):
            files |= {file_of(alias.name, package) for alias in node.names}
    return {file for file in files if file and package in file.parents}


def circles(package: Path) -> list[str]:
    """Each circle of files as ``a.py → b.py → a.py``, where an arrow points at what is imported."""
    imports = {path: imported_files(path, package) for path in package.rglob("*.py")}
    found = []
    while True:
        try:
            TopologicalSorter(imports).prepare()
        except CycleError as error:
            # Every file is imported by the one after it; one import less, and the next circle can be seen.
            circle = error.args[1]
            found.append(" → ".join(str(path.relative_to(package)) for path in reversed(circle)))
            imports[circle[1]].remove(circle[0])
        else:
            return found


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(parsed(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def file_lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_every_room_has_a_rank_and_every_rank_a_room():
    assert {room_of(path) for path in modules()} == set(RANKS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_lower_ranks_only(path):
    own = room_of(path)
    for room in {room_of(file) for file in imported_files(path, PACKAGE) if file != PACKAGE / "__init__.py"} - {own}:
        assert RANKS[room] < RANKS[own], f"{own} (rank {RANKS[own]}) imports {room} (rank {RANKS[room]})"


def test_no_files_import_each_other_in_a_circle():
    found = circles(PACKAGE)
    assert not found, "circles of imports:\n" + "\n".join(found)


def test_a_circle_is_found_wherever_its_imports_hide(tmp_path):
    package = tmp_path / "scaling"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plain.py").write_text("import json\nfrom scaling import inner\n")
    (package / "inner.py").write_text("def work():\n    import scaling.typed\n")
    (package / "typed.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scaling.plain import work\n"
    )
    (package / "twin.py").write_text("from scaling.twin_of_twin import a\nfrom scaling.plain import b\n")
    (package / "twin_of_twin.py").write_text("from scaling.twin import c\n")
    assert {frozenset(circle.split(" → ")) for circle in circles(package)} == {
        frozenset({"plain.py", "inner.py", "typed.py"}),
        frozenset({"twin.py", "twin_of_twin.py"}),
    }


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_has_one_job_and_stays_readable(path):
    lines = len(file_lines(path))
    assert lines <= 400, f"{path.name} has {lines} lines; split it by job"
    assert lines == 0 or ast.get_docstring(parsed(path)), f"{path.name} does not say what its job is"


def test_no_folder_holds_more_files_than_one_takes_in_at_a_look():
    files = Counter(path.parent.relative_to(PACKAGE) for path in modules() if path.name != "__init__.py")
    (folder, most), *_ = files.most_common(1)
    assert most <= 20, f"{folder} holds {most} files: it wants rooms of its own"


def test_no_room_holds_much_more_than_the_others():
    lines = Counter()
    for path in modules():
        lines[room_of(path)] += len(file_lines(path))
    (room, most), *_ = lines.most_common(1)
    assert most < 0.18 * lines.total(), f"{room} holds {most} of {lines.total()} lines"


def test_most_files_and_functions_are_small():
    files = [len(file_lines(path)) for path in modules()]
    lengths = [lines_of(node) for path in modules() for node in functions(path)]
    assert median(files) <= 130
    assert median(lengths) <= 6
    assert quantiles(lengths, n=10)[-1] <= 20
    longest = [(lines_of(node), path.name, node.name) for path in modules() for node in functions(path)]
    assert max(longest) <= (75, "published.py", "_chinchillas"), f"split by step: {max(longest)}"


def test_long_functions_are_explained_step_by_step():
    silent = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
        for path in modules()
        for node in functions(path)
        if lines_of(node) >= 25 and not any("# " in line for line in file_lines(path)[node.lineno : node.end_lineno])
    ]
    assert len(silent) <= UNEXPLAINED, "no comment in\n" + "\n".join(silent)


def loaded_modules(statement: str) -> set[str]:
    command = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_jax_nor_matplotlib():
    assert not {"jax", "matplotlib", "pandas", "scipy"} & loaded_modules("import scaling")


def test_a_forecast_loads_no_search_no_tables_and_no_specifications():
    loaded = loaded_modules(
        "import scaling.cli, scaling.fit.saved.files, scaling.predict.forecast, scaling.report.tables"
    )
    slow = {"jax", "matplotlib", "pandas", "pyarrow", "scipy", "scaling.spec", "scaling.fit.solve.minimise"}
    assert not slow & loaded


@pytest.mark.parametrize("room", PAPER_HALF)
def test_the_paper_half_never_loads_jax(room):
    found = [path for path in modules() if room_of(path) == room]
    names = [".".join(("scaling", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in found]
    statement = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    assert not {"jax", "matplotlib"} & loaded_modules(statement)


def loads_matplotlib(path: Path) -> bool:
    """Whether a file imports matplotlib when it runs; what only a type checker reads is left aside."""
    typed = {
        node
        for block in ast.walk(parsed(path))
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = (node for node in ast.walk(parsed(path)) if node not in typed)
    named = [
        name
        for node in found
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    ]
    return any(name.split(".")[0] == "matplotlib" for name in named)


def test_figures_alone_load_matplotlib():
    drawing = {path.parent.relative_to(PACKAGE) for path in modules() if loads_matplotlib(path)}
    assert drawing == {Path("report/figures")}
