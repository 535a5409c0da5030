"""A page's template: what every self-contained page of a report has of its frame.

Jinja2 comes with ansible-core on the controller. On a vantage host with nothing but python3
there is none, and then there is no page; the other files are written all the same.
"""
from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import PageError

try:
    import jinja2
    from markupsafe import Markup
except ImportError:  # pragma: no cover - only on a host without ansible-core
    jinja2 = None  # type: ignore[assignment]

MARKS: Mapping[str, str] = {
    "passed": "✓", "failed": "✗", "error": "!", "known": "≈", "warned": "△", "info": "i",
    "skipped": "-"}
"""Beside each status, so that its colour is not all there is."""


class Template:
    """A template, read once, since a report is written again and again as the run goes.

    The page fetches nothing: style sheets and script lie beside the template and are put into it,
    and a Content-Security-Policy lets run that script alone, or none.
    """

    def __init__(self, path: Path, *, styles: tuple[str, ...], script: str = "") -> None:
        """Read the template, and the files of these names beside it. Raises PageError."""
        if jinja2 is None:
            raise PageError("index.html needs Jinja2, which comes with ansible-core")
        self._style = "".join(_read(path.with_name(name)) for name in styles)
        self._script = _read(path.with_name(script)) if script else ""
        # What targets say ends up here: everything is escaped.
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                         undefined=jinja2.StrictUndefined)
        self._template = environment.from_string(_read(path))
        digest = base64.b64encode(hashlib.sha256(self._script.encode()).digest()).decode()
        self._policy = ("default-src 'none'; style-src 'unsafe-inline'; "
                        + (f"script-src 'sha256-{digest}'; " if script else "")
                        + "base-uri 'none'; form-action 'none'")

    def render(self, **values: Any) -> bytes:
        """Return the page, in which a template finds these values, and the frame's own."""
        text: str = self._template.render(
            style=Markup(self._style), script=Markup(self._script),  # noqa: S704 - the project's
            policy=self._policy, marks=MARKS, **values)
        return text.encode()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PageError(f"the report's template {path} cannot be read: "
                        f"{error.strerror}") from None
