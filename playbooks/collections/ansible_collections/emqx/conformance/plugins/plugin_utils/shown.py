"""Shows a report on the terminal, as a person reads it."""
from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from ansible_collections.emqx.conformance.plugins.module_utils.report.columns import (
    Line,
    hanging,
    printable,
)

_MIN_WIDTH, _MAX_WIDTH = 40, 120
_WIDTH = min(_MAX_WIDTH, max(_MIN_WIDTH, shutil.get_terminal_size((80, 24)).columns))
"""Columns to fill. Found out when Ansible loads a plugin that imports this, which it does before it
forks the worker that runs it: the worker has no terminal."""


def results_in(folder: Path) -> dict[str, Any]:
    """Return the result object of a report."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results


def speakable_results(folder: Path) -> dict[str, Any]:
    """Return them as they can be printed here: in ASCII where the locale knows nothing else."""
    text = (folder / "results.json").read_text(encoding="utf-8")
    results: dict[str, Any] = json.loads(_speakable(text, "\\"))
    return results


def say(text: str) -> None:
    """Print a sentence within the terminal's width, what comes before two spaces as its head."""
    text = printable(_speakable(text))
    found = re.match(r"\S+ {2,}", text)
    head = found[0] if found else ""
    indent = "" if head else "  "
    first, *others = hanging(head, text[len(head):], _WIDTH - len(indent))
    for line in (first, *(f"{indent}{other}" for other in others)):
        Display().display(line)


def show(folder: Path) -> None:
    """Print the whole summary, with the evidence that -v asks for."""
    results = speakable_results(folder)
    show_lines(lambda width: terminal.render(results, as_typed(folder), width,
                                             Display().verbosity))


def show_lines(render: Callable[[int], Iterable[Line]]) -> None:
    """Print what is rendered for the terminal's width in columns."""
    display = Display()
    display.display("")
    for line in render(_WIDTH):
        # Ansible colours what is "normal" too, with codes that do nothing.
        display.display(line.text, color=None if line.colour == "normal" else line.colour)


def tell_once(result: dict[str, Any]) -> None:
    """Change a task's result whose report was shown, so that Ansible does not say it all again.

    Ansible shows the sentence ``msg`` of a task that failed twice, and a result after -v. What a
    module raised (``exception``) holds that sentence too; without it Ansible makes it of ``msg``.
    """
    if result.get("failed"):
        result["msg"] = (f"{result['verdict']}: what is wrong is said above, and in "
                         f"{as_typed(Path(result['report']))}/index.html")
        result.pop("exception", None)
    else:
        result["_ansible_verbose_override"] = True


def _speakable(text: str, escape: str = "") -> str:
    """Return the text, in ASCII where the locale knows nothing else.

    Ansible runs in UTF-8 locales only. Where none is set, Python takes its UTF-8 mode, in which
    everything is printed, whether the terminal can show it or not.

    Args:
        escape: what a backslash needs before it, such as another one in JSON.
    """
    if not sys.flags.utf8_mode or "PYTHONUTF8" in os.environ:
        return text
    return re.sub(r"[^\x00-\x7f]", lambda found: escape + found[0].encode(
        "ascii", "backslashreplace").decode(), text)


def as_typed(path: Path) -> str:
    """Return a path as the user would type it."""
    try:
        return str(path.resolve().parent.relative_to(Path.cwd()) / path.name)
    except ValueError:
        return str(path)
