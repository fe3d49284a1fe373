"""What a process may use of its machine: what a batch system or a container gives it, not what is built in."""

import os

import pytest

from scaling.machine import cores, group_limits, memory_bytes


def test_cores_are_those_that_the_process_may_run_on(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3, 9})
    assert cores() == 2
    monkeypatch.delattr("os.sched_getaffinity")
    assert cores() == 64


@pytest.mark.parametrize(
    ("group", "files", "limits"),
    [
        ("0::/", {"memory.max": "1000"}, [1000]),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "2000"}, [2000]),
        ("0::/a/b", {"a/b/memory.max": "500", "a/memory.max": "2000"}, [500, 2000]),
        ("5:cpu,memory:/job", {"memory/job/memory.limit_in_bytes": "700"}, [700]),
        ("5:cpu:/job", {"memory/job/memory.limit_in_bytes": "700"}, []),
        ("0::/gone", {"memory.max": "300"}, [300]),
        ("0::/", {"memory.max": "nonsense"}, []),
        ("nonsense", {}, []),
    ],
)
def test_limits_of_memory_are_those_of_the_group_and_of_all_around_it(tmp_path, group, files, limits):
    (tmp_path / "cgroup").write_text(f"{group}\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert group_limits(tmp_path / "cgroup", tmp_path) == limits


def test_a_system_without_control_groups_has_no_limits(tmp_path):
    assert group_limits(tmp_path / "absent", tmp_path) == []


@pytest.mark.parametrize("limit", [1000, 2**62])
def test_memory_is_the_least_of_the_machine_and_its_limits(monkeypatch, limit):
    built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr("scaling.machine.group_limits", lambda: [limit])
    assert memory_bytes() == min(limit, built_in)
