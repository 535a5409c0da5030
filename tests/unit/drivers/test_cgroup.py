"""What a container takes is read from its control group, of either version, and no other's."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker import cgroup

ID = "3eb80f71fdb4"


def told(root: Path, groups: str, file: str, text: str) -> float:
    for path, content in ((root / "proc/7/cgroup", groups), (root / "cgroups" / file, text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return cgroup.cpu_s(ID, 7, proc=root / "proc", cgroups=root / "cgroups")


@pytest.mark.parametrize("controllers", ["cpuacct", "cpu,cpuacct"])
def test_version_1(tmp_path: Path, controllers: str) -> None:
    groups = f"9:name=systemd:/docker/{ID}\n2:{controllers}:/docker/{ID}\n0::/docker/{ID}\n"
    assert told(tmp_path, groups, f"cpuacct/docker/{ID}/cpuacct.usage", "1500000000\n") == 1.5


def test_version_2(tmp_path: Path) -> None:
    groups = f"0::/system.slice/docker-{ID}.scope\n"
    assert told(tmp_path, groups, f"system.slice/docker-{ID}.scope/cpu.stat",
                "usage_usec 2500000\nuser_usec 2000000\n") == 2.5


@pytest.mark.parametrize(("groups", "text", "says"), [
    ("0::/somebody/else\n", "usage_usec 1\n", "does the engine run in a machine of its own?"),
    ("", "usage_usec 1\n", "does the engine run in a machine of its own?"),
    (f"0::/{ID}\n", "user_usec 1\n", "cannot be read: 'usage_usec'"),
    (f"0::/{ID}\n", "garbage\n", "cannot be read: "),
    ("garbage\n", "usage_usec 1\n", "cannot be read: "),
])
def test_what_cannot_be_read_is_said(tmp_path: Path, groups: str, text: str, says: str) -> None:
    with pytest.raises(DriverError) as error:
        told(tmp_path, groups, f"{ID}/cpu.stat", text)
    assert says in str(error.value)


def test_a_process_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="cannot be read"):
        cgroup.cpu_s(ID, 7, proc=tmp_path, cgroups=tmp_path)
