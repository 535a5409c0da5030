"""The report folder: written as the run goes, never half a file, finished whatever happens."""
from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from . import junit
from .page import Page
from .results import RunRecord, build


def new_folder(reports_dir: Path) -> Path:
    """Create and return ``<reports_dir>/<UTC time>/``; two runs in one second get two."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = reports_dir / f"{now}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{reports_dir / now}: a hundred runs in one second")


class ReportFolder:
    """Writes one run's report."""

    SAVE_EVERY_S = 1.0

    def __init__(self, folder: Path, record: RunRecord, page: Page | None = None) -> None:
        self.folder, self._record, self._page = folder, record, page
        self._begun = time.monotonic()
        self._saved = 0.0
        self._save_took = 0.0

    def save_sometimes(self) -> None:
        """Save the partial result unless that was done a moment ago.

        A large result is saved more rarely: saving may take a tenth of the run, not more.
        """
        if time.monotonic() - self._saved >= max(self.SAVE_EVERY_S, 10 * self._save_took):
            self.save()

    def save(self) -> dict[str, Any]:
        """Write every file as of now and return the result object."""
        begun = time.monotonic()
        self._record.duration_s = begun - self._begun
        results = build(self._record)
        write_atomically(self.folder / "results.json",
                         (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
        write_atomically(self.folder / "junit.xml", junit.render(results))
        if self._page is not None:
            write_atomically(self.folder / "index.html", self._page.render(results))
        self._saved = time.monotonic()
        self._save_took = self._saved - begun
        return results

    def link_latest(self) -> None:
        """Point ``latest`` beside the folder to it."""
        latest = self.folder.parent / "latest"
        temporary = latest.with_name(f".latest-{secrets.token_hex(4)}")
        temporary.symlink_to(self.folder.name)
        try:
            temporary.replace(latest)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
