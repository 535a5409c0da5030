"""Types what the report says how to see a finding by hand."""
from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.report.reproduce import Recipe

DEADLINE_S = 120


def typed(told: Recipe | None, folder: Path, *steps: Callable[[], object]) -> list[str]:
    """Return what bash prints, line by line, and see that neither session nor secret is left.

    Args:
        told: the lines.
        folder: for what they write; made when it is not there.
        steps: what is up to the person. Each is taken when one more line was printed, and then
            Enter pressed.
    """
    assert told is not None
    folder.mkdir(exist_ok=True)
    lines = folder.with_name(f"{folder.name}.bash")
    lines.write_text("\n".join(told.lines) + "\n")
    with subprocess.Popen(["bash", str(lines)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)}) as bash:
        try:
            assert bash.stdin is not None
            assert bash.stdout is not None
            before = ""
            for step in steps:
                before += bash.stdout.readline()
                step()
                bash.stdin.write("\n")
                bash.stdin.flush()
            printed, complaints = bash.communicate(timeout=DEADLINE_S)
        except BaseException:
            bash.kill()
            raise
    assert complaints == ""
    printed = before + printed
    assert not re.search(r"Master-Key|PRIVATE KEY|[0-9A-F]{96}", printed)
    assert list(folder.iterdir()) == []
    return [line.strip() for line in printed.splitlines()]


def words(printed: list[str]) -> list[str]:
    """Return what comes before the first comma of each line but openssl's errors."""
    return [line.partition(",")[0] for line in printed if ":error:" not in line]
