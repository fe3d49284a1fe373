"""What a process holds of a file that it maps, however the file is named."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from scaling.export.workers.process import memory

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs the page tables of Linux")

SIZE = 1 << 21


def mapped(file: Path, asked: Path) -> int:
    """Bytes that are seen of a file once every page of its mapping was read."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as pages:
        assert sum(pages[:: mmap.PAGESIZE]) == 0
        return memory(str(asked))["mapped"]


@pytest.mark.parametrize(
    "folder", ["plain", "my results", " two  spaces ", "ümlaut", "line\nbreak", "a:b", "\udcff", "back\\slash"]
)
def test_a_mapped_file_is_found_whatever_its_folder_is_called(tmp_path, folder):
    file = tmp_path / folder / "model.gguf"
    file.parent.mkdir()
    file.write_bytes(bytes(SIZE))
    assert mapped(file, file) == SIZE


def test_a_mapped_file_is_found_through_a_link_and_a_name_that_ends_alike_is_another(tmp_path):
    (tmp_path / "the folder").mkdir()
    file, link, other = tmp_path / "the folder" / "model.gguf", tmp_path / "link", tmp_path / "model.gguf"
    file.write_bytes(bytes(SIZE))
    link.symlink_to(file)
    other.write_bytes(b"")
    assert mapped(file, link) == SIZE
    assert mapped(file, other) == 0
