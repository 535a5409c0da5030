"""The report on terminals of several kinds, each a pseudo-terminal of a process of its own."""
from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report.columns import (
    columns as columns_of,
)
from ansible_collections.emqx.conformance.plugins.plugin_utils import shown

from tests.support.results import finding, result

ROOT = Path(__file__).parents[3]
SHOW = ("import sys; from pathlib import Path; from ansible.utils.display import Display; "
        "from ansible_collections.emqx.conformance.plugins.plugin_utils import shown; "
        "Display().verbosity = int(sys.argv[2]); shown.show(Path(sys.argv[1])); "
        "shown.say('CORE-02  ' + 'word ' * 40)")
COLOUR = re.compile("\x1b\\[[0-9;]*m")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    results = result(["n1"], [
        finding("CORE-01", "n1", "passed", "all is well"),
        finding("CORE-02", "n1", "failed", "a sentence of \u4e2d\u6587\x1b[2J that goes on " * 6)])
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results, ensure_ascii=False), "utf-8")
    return folder


def command(report: Path, verbosity: int) -> list[str]:
    return [sys.executable, "-c", SHOW, str(report), str(verbosity)]


def environment(**changed: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items()
            if key not in ("NO_COLOR", "ANSIBLE_NOCOLOR", "ANSIBLE_FORCE_COLOR", "COLUMNS",
                           "PYTHONUTF8") and not key.startswith(("LC_", "LANG"))}
    return {**kept, "PYTHONPATH": str(ROOT / "playbooks/collections"), "TERM": "xterm",
            "LANG": "C.UTF-8", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **changed}


def on_a_terminal(report: Path, columns: int, *, verbosity: int = 0,
                  changed: dict[str, str] | None = None) -> str:
    """Return what a person sees on a terminal of so many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(command(report, verbosity), stdin=its, stdout=its, stderr=its,
                          env=environment(**(changed or {})), cwd=report.parent,
                          start_new_session=True) as process:
        os.close(its)
        told = b""
        # Linux ends a pseudo-terminal whose other side is closed with EIO.
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            told += data
        os.close(ours)
        assert process.wait(30) == 0
    return told.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(("columns", "most"), [(30, 40), (60, 60), (80, 80), (200, 120)])
def test_it_keeps_to_the_width(report: Path, columns: int, most: int) -> None:
    lines = COLOUR.sub("", on_a_terminal(report, columns)).splitlines()
    sentence = next(line for line in lines if line.startswith("         a sentence"))
    assert most - 25 < len(sentence) <= most
    assert max(map(columns_of, lines)) <= most
    assert lines[-1].startswith("         word")


def test_colours_are_as_ansible_decides(report: Path) -> None:
    coloured = on_a_terminal(report, 80)
    plain = COLOUR.sub("", coloured)
    red = [line for line in coloured.splitlines() if line.startswith("\x1b[0;31m")]
    assert any("CORE-02" in line for line in red)
    # What has no colour has no codes either.
    assert next(line for line in coloured.splitlines() if "Started" in line).startswith("Started")
    assert "\x1b" not in plain
    for changed in ({"NO_COLOR": "1"}, {"ANSIBLE_NOCOLOR": "1"}, {"TERM": "dumb"}):
        assert on_a_terminal(report, 80, changed=changed) == plain, changed


def test_a_pipe_gets_80_plain_columns_unless_told_otherwise(report: Path) -> None:
    def piped(**changed: str) -> str:
        return subprocess.run(command(report, 0), capture_output=True, check=True,
                              cwd=report.parent, env=environment(**changed),
                              encoding="utf-8").stdout

    plain = piped()
    assert plain == COLOUR.sub("", on_a_terminal(report, 80))
    assert COLOUR.sub("", piped(ANSIBLE_FORCE_COLOR="1")) == plain
    assert "\x1b[0;31m" in piped(ANSIBLE_FORCE_COLOR="1")
    assert max(map(len, piped(COLUMNS="110").splitlines())) > 80


def test_a_locale_without_unicode_gets_ascii(report: Path) -> None:
    told = on_a_terminal(report, 80, changed={"LANG": "C"})
    assert told.isascii()
    assert r"a sentence of \u4e2d\u6587?[2J that" in told
    assert max(map(len, COLOUR.sub("", told).splitlines())) <= 80
    assert "\u4e2d\u6587?[2J" in on_a_terminal(report, 80)


def test_verbosity_is_ansibles(report: Path) -> None:
    assert "all is well" not in on_a_terminal(report, 80)
    assert "         all is well" in on_a_terminal(report, 80, verbosity=1)


def test_a_failure_is_not_told_again_by_ansible(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "now"
    failed: dict[str, Any] = {
        "failed": True, "verdict": "failed", "headline": "it broke", "report": str(folder),
        "msg": "failed: it broke", "exception": "failed: it broke"}
    shown.tell_once(failed)
    assert "it broke" not in failed["msg"]
    assert failed["msg"].startswith("failed: ")
    assert "now/index.html" in failed["msg"]
    assert "exception" not in failed
    assert failed["headline"] == "it broke"
    passed: dict[str, Any] = {"verdict": "passed", "headline": "fine", "report": str(folder)}
    shown.tell_once(passed)
    # Otherwise -v would print the result as JSON below the report.
    assert passed["_ansible_verbose_override"]
    assert "msg" not in passed
