"""The page that answers without this program: one HTML file, opened in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options.shared import Json, Results, emit, one_of, refuse_without_effect
from scaling.errors import SpecError

Source = Annotated[
    Path | None, typer.Argument(readable=False, metavar="SWEEP.yaml", help="A sweep with a fit.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel="Look, prepare, hand on")(report)


def report(
    sweep_file: Source = None,
    law: Annotated[
        str | None, typer.Option("--law", metavar="NAME", help="A published law, without any sweep.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, metavar="FILE.html", help="File to write.")
    ] = None,
    results: Results = None,
    json_: Json = False,
) -> None:
    """Write the explorer: one HTML file with sliders for size, tokens, teacher, phone and target; no network."""
    from scaling.chain.workspace import Workspace
    from scaling.files import make_folder, write_bytes
    from scaling.report.page import page_of_law, page_of_sweep

    one_of("report", {"SWEEP.yaml": sweep_file, "--law": law}, example="--law besiroglu")
    if law is not None:
        refuse_without_effect("--law", {"--results": results})
        path, page = out or Path(f"{law}.html"), page_of_law(law)
    else:
        _refuse_no_sweep(str(sweep_file))
        workspace = Workspace.open(str(sweep_file), results=results)
        path, page = out or workspace.folder / "report.html", page_of_sweep(workspace)
    # Whole or not at all, like everything that is written here.
    make_folder(path.parent)
    write_bytes(path, page.encode())
    emit({"page": str(path), "bytes": len(page.encode())}, as_json=json_, show=lambda told: print(told["page"]))


def _refuse_no_sweep(name: str) -> None:
    """A fit or a table in place of a sweep would be told key by key what is wrong with it."""
    if name.endswith((".json", ".csv", ".parquet")):
        raise SpecError(
            f"report: got {name}, allowed is a sweep file with a fit (SWEEP.yaml), or --law; the figures of a fit of "
            "another table are drawn in Python: scaling.load_fit(FILE).plot()"
        )
