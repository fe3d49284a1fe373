"""The folder of a sweep: whose results it holds, and who may write them now."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import pytest

from scaling.chain.foresee import check_memory
from scaling.chain.workspace import Workspace
from scaling.errors import ConfigError, RecordError
from scaling.sweep.plan import plan, step_bytes

TEXT = """\
name: twin
base: {{model: {{width: {width}, context: 40}}, data: {{source: {{kind: w0}}}}, tokens: 10k}}
"""


def sweep_file(path: Path, width: int) -> Path:
    path.write_text(TEXT.format(width=width))
    return path


def test_a_second_file_of_the_same_name_does_not_write_over_the_first(tmp_path):
    first, second = sweep_file(tmp_path / "a.yaml", 32), sweep_file(tmp_path / "b.yaml", 64)
    folder = Workspace.open(first, results=tmp_path / "results").prepare().folder
    before = (folder / "sweep.yaml").read_bytes()
    with pytest.raises(RecordError, match=r"holds the results of .*a\.yaml.* another name"):
        Workspace.open(second, results=tmp_path / "results").prepare()
    assert (folder / "sweep.yaml").read_bytes() == before
    Workspace.open(second, results=tmp_path / "results", overrides=["name=other"]).prepare()


def test_a_file_that_was_edited_copied_or_moved_goes_on_with_its_results(tmp_path):
    first = sweep_file(tmp_path / "a.yaml", 32)
    Workspace.open(first, results=tmp_path / "results").prepare()
    edited = Workspace.open(sweep_file(first, 64), results=tmp_path / "results").prepare()
    Workspace.open(sweep_file(tmp_path / "copy.yaml", 64), results=tmp_path / "results").prepare()
    first.unlink()
    Workspace.open(sweep_file(tmp_path / "moved.yaml", 96), results=tmp_path / "results").prepare()
    assert Workspace.open(edited.folder, results=tmp_path / "results").runs[0].model.width == 96


def test_a_results_folder_of_before_that_does_not_name_its_file_is_taken_on(tmp_path):
    folder = Workspace.open(sweep_file(tmp_path / "a.yaml", 32), results=tmp_path / "results").prepare().folder
    text = (folder / "sweep.yaml").read_text().split("\n", 1)[1]
    (folder / "sweep.yaml").write_text(text)
    Workspace.open(sweep_file(tmp_path / "b.yaml", 64), results=tmp_path / "results").prepare()


def test_a_command_to_type_works_on_the_sweep_as_it_was_opened(tmp_path):
    path = sweep_file(tmp_path / "a b.yaml", 32)
    plain = Workspace.open(path, results=tmp_path / "results").prepare()
    assert plain.command("scaling fit") == f"scaling fit '{path}' --results {tmp_path / 'results'}"
    changed = Workspace.open(path, results="results", overrides=["name=other"])
    assert changed.command("scaling fit") == "scaling fit results/other/sweep.yaml"


def test_of_two_that_write_results_the_second_waits_and_says_so(tmp_path):
    workspace = Workspace.open(sweep_file(tmp_path / "a.yaml", 32), results=tmp_path).prepare()
    said, waiting = [], threading.Event()

    def second() -> None:
        with workspace.held(waits=lambda: (said.append("waits"), waiting.set())):
            said.append("second")

    thread = threading.Thread(target=second)
    with workspace.held():
        thread.start()
        assert waiting.wait(60)
        said.append("first")
    thread.join(60)
    assert said == ["waits", "first", "second"]


def test_a_folder_of_several_sweeps_names_them(tmp_path):
    Workspace.open(sweep_file(tmp_path / "a.yaml", 32), results=tmp_path / "results").prepare()
    with pytest.raises(ConfigError, match=r"no sweep's own — name one of .*results/twin$"):
        Workspace.open(tmp_path / "results", results=tmp_path / "results")
    with pytest.raises(ConfigError, match=r"name a sweep file, or the folder of a sweep with sweep\.yaml$"):
        Workspace.open(tmp_path, results=tmp_path / "results")


def test_the_folder_of_a_sweep_is_read_with_the_results_around_it_wherever_it_was_copied(tmp_path, monkeypatch):
    first = Workspace.open(sweep_file(tmp_path / "a.yaml", 32), results=tmp_path / "results").prepare()
    copied = tmp_path / "elsewhere" / "copy"
    shutil.copytree(first.store.root, copied)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for named in (copied / "twin", copied / "twin" / "sweep.yaml"):
        found = Workspace.open(named)
        assert found.store.root == copied
        assert found.command("scaling fit").endswith(f"--results {copied}")
    monkeypatch.chdir(copied / "twin")
    for named in (".", "sweep.yaml"):
        assert Workspace.open(named).store.root == copied
    monkeypatch.chdir(tmp_path / "cwd")
    # What is said wins, and a sweep file of a person's own lies in no results folder.
    assert Workspace.open(copied / "twin", results=tmp_path / "results").store.root == tmp_path / "results"
    assert Workspace.open(tmp_path / "a.yaml").store.root == Path("results")


def test_the_usual_results_folder_wins_where_it_is_said_and_is_said_again(tmp_path, monkeypatch):
    folder = Workspace.open(sweep_file(tmp_path / "a.yaml", 32), results=tmp_path / "elsewhere").prepare().folder
    monkeypatch.chdir(tmp_path)
    found = Workspace.open(folder, results="results")
    assert found.store.root == Path("results")
    assert found.command("scaling fit") == f"scaling fit {folder / 'sweep.yaml'} --results results"
    assert Workspace.open("a.yaml", results="results").command("scaling fit") == "scaling fit a.yaml"


@pytest.mark.parametrize("name", ["100k", "1e5", "0x1F", "2.5B", "on", "1_000"])
def test_a_sweep_whose_name_looks_like_a_number_is_read_again_from_its_folder(tmp_path, name):
    path = sweep_file(tmp_path / "a.yaml", 32)
    path.write_text(re.sub("name: .*", f"name: '{name}'", path.read_text(), count=1))
    made = Workspace.open(path, results=tmp_path / "results").prepare()
    again = Workspace.open(tmp_path / "results" / name)
    assert (again.config.name, again.runs) == (name, made.runs)


def test_as_many_workers_as_fit_the_memory_are_started_and_no_more(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    base = "model: {n_layers: 1}, data: {source: {kind: w0}}, tokens: 10k"
    path.write_text(f"name: a\nbase: {{{base}}}\ngrid: {{model.width: [32, 64, 96]}}\n")
    workspace = Workspace.open(path, results=tmp_path / "results")
    made = plan(workspace.runs, workspace.store)
    sizes = sorted(step_bytes(run) for run in workspace.runs)
    monkeypatch.setattr("scaling.chain.foresee.memory_bytes", lambda: sizes[1] + sizes[2])
    for jobs in (1, 2):
        check_memory(workspace, made, jobs=jobs)
    with pytest.raises(ConfigError, match="--jobs: steps of 3 workers at once need .* — pass --jobs 2;"):
        check_memory(workspace, made, jobs=8)
    monkeypatch.setattr("scaling.chain.foresee.memory_bytes", lambda: sizes[2] - 1)
    with pytest.raises(ConfigError, match="model.width: a step at width 96"):
        check_memory(workspace, made)
