"""Debian's Chromium without a window, driven by Playwright; nothing is downloaded."""
from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


def demand() -> str:
    """Return Chromium's path. Without it the test fails in CI, and is skipped on other machines."""
    if path := shutil.which("chromium"):
        return path
    why = "no chromium command on this machine: `make test` installs it"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run it. As root it has no sandbox, and it opens only what tests have written."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=demand(), args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Messages on the console and exceptions."""
    requests: list[str] = field(default_factory=list)
    """All but that for the page itself."""


@contextlib.contextmanager
def opened(browser: Browser, path: Path, fragment: str = "", **context: Any) -> Iterator[Opened]:
    """Open a file in a context of its own, for example ``color_scheme="dark"``."""
    made = browser.new_context(**context)
    seen = Opened(made.new_page())
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("request", lambda request: None if request.is_navigation_request() and (
        request.url.startswith(path.as_uri())) else seen.requests.append(request.url))
    seen.page.goto(path.as_uri() + fragment)
    yield seen
    made.close()
