"""Directories that several nodes of a cluster want at once."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.plugin_utils.written import directory_made


def test_a_parent_that_another_node_has_just_made_is_taken(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists

    def before_the_other(path: Path) -> bool:
        found = exists(path)
        if path.name == "cluster":
            path.mkdir(exist_ok=True)
        return found

    monkeypatch.setattr(Path, "exists", before_the_other)
    assert directory_made(tmp_path / "cluster" / "emqx1", pretend=False)
    assert (tmp_path / "cluster" / "emqx1").is_dir()
    assert not directory_made(tmp_path / "cluster" / "emqx1", pretend=False)
