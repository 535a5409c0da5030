"""Progress: rare writes, true sentences."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.progress import (
    ProgressFile,
    sentence,
)


def test_it_writes_rarely_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = ProgressFile(str(path), 5000, "handshakes")
    for done in range(1, 5000):
        progress.update(done)
    told = json.loads(path.read_text())
    assert told["total"] == 5000
    assert told["done"] < 4999  # written a moment ago, and not again for each one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress"]


def test_what_takes_its_time_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = ProgressFile(str(path), 200, "handshakes")
    for number in range(3):
        progress.update(130 + number)
        progress.wait_for(f"X-01 restarts n{number}")
        told = json.loads(path.read_text())
        assert sentence(told) == f"{130 + number} of 200 handshakes; X-01 restarts n{number}"
    progress.wait_for("")
    assert "X-01" not in sentence(json.loads(path.read_text()))


def test_nobody_asked_and_nowhere_to_write(tmp_path: Path) -> None:
    ProgressFile(None, 1, "nodes").update(1)
    ProgressFile(None, 1, "nodes").wait_for("rain")
    ProgressFile(str(tmp_path / "gone" / "progress"), 1, "nodes").update(1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("done", "elapsed", "says"), [
    (600, 2.0, "600 of 3000 handshakes, 300/s, about 8 s left"),
    (3, 2.0, "3 of 3000 handshakes, 1.5/s, about 1998 s left"),
    (3100, 10.0, "3100 of 3000 handshakes, 310/s, about 0 s left"),
    (0, 2.0, "0 of 3000 handshakes"),
    (0, 0.0, "0 of 3000 handshakes"),
])
def test_the_sentence(done: int, elapsed: float, says: str) -> None:
    assert sentence({"done": done, "total": 3000, "what": "handshakes",
                     "elapsed_s": elapsed}) == says
