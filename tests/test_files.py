"""Files are written whole or not at all, and what a machine cannot do is said as its own fault."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from scaling.data.documents import read_files
from scaling.errors import DataError, MachineError, MissingPackageError, OutOfMemory, RecordError
from scaling.files import (
    clear_errors,
    locked,
    machine_error,
    make_folder,
    publish_folder,
    read_json,
    write_bytes,
    write_file,
    write_folder,
    write_json,
    write_once,
)
from scaling.packages import EXTRAS
from scaling.tables.files import read_table


def test_a_file_where_a_folder_should_be_is_named_with_what_to_do(tmp_path):
    (tmp_path / "results").write_text("not a folder")
    for refused in (lambda: make_folder(tmp_path / "results"), lambda: make_folder(tmp_path / "results" / "runs")):
        with pytest.raises(MachineError, match="results.*a file is where a folder should be; move it away"):
            refused()
    with pytest.raises(MachineError, match="a file is where a folder should be"):
        write_json(tmp_path / "results" / "x.json", {})


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "mounted writable"),
        (errno.EACCES, "permission"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_the_machines_errors_are_told_from_others_wherever_they_come_from(number, remedy):
    original = OSError(number, os.strerror(number), "/some/file")
    assert f"/some/file: {os.strerror(number)}" in str(machine_error(original))
    assert remedy in str(machine_error(original))
    # As a library passes it on, which wrote by itself.
    assert remedy in str(machine_error(ValueError(f"INTERNAL: Error writing d/1f: {os.strerror(number)}"))) or (
        number == errno.EMFILE
    )
    wrapped = DataError("shard 3 cannot be written")
    wrapped.__cause__ = original
    assert str(machine_error(wrapped)) == "shard 3 cannot be written"


def test_what_is_not_the_machines_fault_is_left_as_it_is():
    assert machine_error(FileNotFoundError(errno.ENOENT, "gone", "x")) is None
    assert machine_error(ValueError("bad value")) is None
    assert machine_error(DataError("corpus x is not installed")) is None
    with pytest.raises(FileNotFoundError), clear_errors():
        raise FileNotFoundError(errno.ENOENT, "gone", "x")


def test_memory_that_is_used_up_is_the_machines_fault():
    assert isinstance(machine_error(MemoryError()), OutOfMemory)
    assert isinstance(machine_error(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")), OutOfMemory)


def test_files_honour_the_umask(tmp_path):
    write_bytes(tmp_path / "a", b"1")
    write_once(tmp_path / "b", b"1")
    (tmp_path / "plain").write_bytes(b"1")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b", "plain")}
    assert len(modes) == 1


def test_a_file_written_once_is_never_replaced(tmp_path):
    assert write_once(tmp_path / "x", b"first")
    assert not write_once(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("there", ["folder", "file"])
def test_a_folder_is_published_whole_and_never_over_another(tmp_path, there):
    target = tmp_path / "run"
    if there == "file":
        target.write_text("mine")
    else:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "result").write_text("mine")
        assert publish_folder(tmp_path / "first", target)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "result").write_text("other")
    assert not publish_folder(tmp_path / "second", target)
    assert (target if there == "file" else target / "result").read_text() == "mine"
    assert (tmp_path / "second" / "result").exists()


def test_json_too_deep_to_be_read_is_damaged(tmp_path):
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(RecordError, match="damaged"):
        read_json(tmp_path / "x.json")


KILLED = """
import os, signal, sys
from pathlib import Path
from scaling.files import write_file, write_folder

def die(draft):
    (draft / "part" if draft.is_dir() else draft).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

{write}(Path(sys.argv[1]), die)
"""


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_the_same(tmp_path, write):
    def fill(draft: Path) -> None:
        (draft / "part" if draft.is_dir() else draft).write_text("whole")

    target = tmp_path / "model.gguf"
    command = [sys.executable, "-c", KILLED.format(write=write.__name__), str(target)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=os.environ | path, timeout=60).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "other.gguf", fill)
    assert len(list(tmp_path.glob(".model.gguf.*"))) == 1
    write(target, fill)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["model.gguf", "other.gguf"]


def test_a_draft_that_is_being_filled_is_nobody_elses_to_remove(tmp_path):
    def fill(draft: Path) -> None:
        write_file(tmp_path / "x", lambda other: other.write_text("second"))
        assert draft.exists()
        draft.write_text("first")

    write_file(tmp_path / "x", fill)
    assert (tmp_path / "x").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_not_written_over_another(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    assert not write_folder(tmp_path / "taken", lambda draft: (draft / "file").write_text("yours"))
    assert (tmp_path / "taken" / "file").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could replace a device")
def test_no_file_takes_the_place_of_a_device(tmp_path):
    device = tmp_path / "null"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(RecordError, match="is a device or a pipe"):
        write_bytes(device, b"x")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


def test_a_full_disk_is_said_with_the_file_that_did_not_fit(tmp_path):
    def full(_draft):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(MachineError, match=f"{tmp_path / 'big'}: No space left"):
        write_file(tmp_path / "big", full)

    # As NumPy says it, of what is longer than may be written.
    def cut_short(draft):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with draft.open("wb") as file:
                np.zeros(4096, np.float32).tofile(file)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(MachineError, match=f"{tmp_path / 'big'}: only a part of a file was written .*the disk is full"):
        write_file(tmp_path / "big", cut_short)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_a_fault_of_the_machine_that_names_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingPackageError, match=r"tensorboardX is not .*'scaling\[tensorboard\]'"), clear_errors():
        import tensorboardX  # noqa: F401


def test_a_package_that_does_not_load_and_one_that_nobody_names_are_said_so():
    broken = machine_error(ImportError("libx.so.1: cannot open shared object file", name="xllamacpp"))
    assert "xllamacpp does not load (libx.so.1" in str(broken)
    assert "scaling[export]" in str(broken)
    unnamed = machine_error(ImportError("Unable to find a usable engine; tried using: 'pyarrow', 'fastparquet'."))
    assert "'pyarrow'" in str(unnamed)
    assert "pip install scaling" in str(unnamed)
    assert machine_error(ModuleNotFoundError("No module named 'scaling.gone'", name="scaling.gone")) is None


def test_the_extras_hold_the_packages_that_the_project_file_lists():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    for extra, packages in EXTRAS.items():
        listed = {re.split(r"[>=<\[]", line)[0] for line in project["optional-dependencies"][extra]}
        assert listed == set(packages)


def test_a_table_is_not_called_damaged_where_the_package_that_reads_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"whatever it holds")

    def without_engine(path):
        raise ImportError("Unable to find a usable engine; tried using: 'pyarrow', 'fastparquet'.")

    monkeypatch.setattr("pandas.read_parquet", without_engine)
    with pytest.raises(MissingPackageError, match=r"'pyarrow'.*pip install scaling"):
        read_table(tmp_path / "a.parquet")


def test_a_text_is_not_called_damaged_where_the_package_that_reads_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"whatever it holds")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pyarrow is not installed.*pip install"):
        list(read_files(str(tmp_path / "a.parquet")))


@pytest.mark.parametrize("said", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_work_goes_on_with_a_warning_where_a_file_system_locks_nothing(tmp_path, monkeypatch, said):
    def refuse(*_):
        raise OSError(said, os.strerror(said))

    monkeypatch.setattr("fcntl.flock", refuse)
    done = []
    with pytest.warns(UserWarning, match=f"{tmp_path}: its file system locks no files"), locked(tmp_path / ".lock"):
        done.append(1)
    assert done


@pytest.mark.parametrize("said", [errno.EIO, errno.ESTALE, errno.ENOSPC])
@pytest.mark.parametrize("call", ["fcntl.flock", "os.open"])
def test_a_lock_that_a_machine_cannot_take_is_its_own_fault_and_names_the_file(tmp_path, monkeypatch, said, call):
    def refuse(*_):
        raise OSError(said, os.strerror(said))

    monkeypatch.setattr(call, refuse)
    with pytest.raises(MachineError, match=re.escape(f"{tmp_path / '.lock'}: ")), locked(tmp_path / ".lock"):
        pass
