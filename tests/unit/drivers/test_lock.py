"""One change of a cluster at a time."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.lock import exclusive


def test_the_second_is_told_who_has_it(tmp_path: Path) -> None:
    with exclusive(tmp_path, "cluster x"), \
            pytest.raises(DriverError, match=f"cluster x is being .* by pid {os.getpid()}"), \
            exclusive(tmp_path, "cluster x"):
        pytest.fail("two hold one lock")
    with exclusive(tmp_path, "cluster x"):
        pass


def test_an_empty_folder_goes_with_the_lock(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with exclusive(folder, "cluster x"):
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_in_use_stays(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with exclusive(folder, "cluster x"):
        (folder / "emqx1").mkdir()
    assert (folder / "emqx1").is_dir()


def test_a_failure_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path, "cluster x"):
        raise ZeroDivisionError
    with exclusive(tmp_path, "cluster x"):
        pass
