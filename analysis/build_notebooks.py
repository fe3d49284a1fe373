"""The notebooks of this folder, made of their sources and executed: python analysis/build_notebooks.py [NAME …]

A source is a script whose cells open with ``# %%``, those of text with ``# %% [markdown]``. Needs [notebooks].
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = sorted(HERE.glob("[0-9][0-9]_*.py"))


def cells(source: str) -> list[tuple[str, str]]:
    """The cells of a source: ("markdown" or "code", text) each."""
    _, *parts = re.split(r"^# %%(.*)\n", source, flags=re.MULTILINE)
    return [_cell(head, body.strip("\n")) for head, body in zip(parts[::2], parts[1::2], strict=True)]


def _cell(head: str, body: str) -> tuple[str, str]:
    if "[markdown]" in head:
        return "markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE)
    return "code", body


def build(source: Path) -> Path:
    """Execute a source as a notebook, and write that beside it."""
    import nbformat
    from nbclient import NotebookClient

    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    # Cells are numbered, for an id drawn at random would change the file each time.
    found = [make[kind](text, id=f"cell-{i}") for i, (kind, text) in enumerate(cells(source.read_text("utf-8")))]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=found, metadata=kernel)
    # The kernel draws into the notebook, whatever the shell would draw with.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    resources = {"metadata": {"path": str(HERE)}}
    NotebookClient(notebook, timeout=300, record_timing=False, resources=resources).execute()
    notebook.metadata = kernel
    path = source.with_suffix(".ipynb")
    nbformat.write(notebook, path)
    return path


def main(*names: str) -> None:
    for source in SOURCES:
        if not names or source.stem in names:
            path = build(source)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
