"""The report folder: written as the run goes, never half a file, finished whatever happens."""
from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Protocol

from . import junit, summary
from .archive import FILE
from .results import RunRecord, build


class PageError(Exception):
    """The page cannot be made; the sentence says why."""


class PageMaker(Protocol):
    """Makes index.html; a run without one need not import what that takes."""

    def render(self, results: dict[str, Any]) -> bytes:
        """Return the page of a result object."""


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


class Report(Protocol):
    """What a run saves its result to."""

    def save_sometimes(self) -> None:
        """Save the partial result unless that was done a moment ago."""

    def save(self) -> dict[str, Any]:
        """Save the result as of now and return it."""


class ReportFolder:
    """Writes one run's report."""

    SAVE_EVERY_S = 1.0

    def __init__(self, folder: Path, record: RunRecord, page: PageMaker | None = None) -> None:
        self.folder, self._record, self._page = folder, record, page
        record.archive.folder = folder
        self._begun = time.monotonic()
        self._saved = 0.0
        self._save_took = 0.0

    def save_sometimes(self) -> None:
        """Save the partial result unless that was done a moment ago.

        A large result is saved more rarely: saving may take a tenth of the run, not more.
        """
        # Whoever asks the run to stop waits for the last report, not for this one as well.
        asked_to_stop = self._record.stop.is_set
        if time.monotonic() - self._saved >= max(self.SAVE_EVERY_S, 10 * self._save_took) \
                and not asked_to_stop():
            self._save(given_up=asked_to_stop)

    def save(self) -> dict[str, Any]:
        """Write every file as of now and return the result object."""
        return self._save()

    def _save(self, given_up: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        begun = time.monotonic()
        self._record.duration_s = begun - self._begun
        results = build(self._record)
        if given_up():
            return results
        archive = self._record.archive
        archive.flush()
        write(self.folder, results, self._page, handshakes=archive.texts(results["handshakes"]),
              given_up=given_up)
        self._saved = time.monotonic()
        self._save_took = self._saved - begun
        return results


def link_latest(folder: Path) -> None:
    """Point ``latest`` beside the folder to it."""
    latest = folder.parent / "latest"
    temporary = latest.with_name(f".latest-{secrets.token_hex(4)}")
    temporary.symlink_to(folder.name)
    try:
        temporary.replace(latest)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


class Unwritten:
    """In a report folder's place where no file is to be written."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._begun = time.monotonic()

    def save_sometimes(self) -> None:
        """Do nothing: nobody looks before the end."""

    def save(self) -> dict[str, Any]:
        """Return the result object as of now."""
        self._record.duration_s = time.monotonic() - self._begun
        return build(self._record)


def write(folder: Path, results: dict[str, Any], page: PageMaker | None, *,
          handshakes: Mapping[str, str] | None = None,
          given_up: Callable[[], bool] = lambda: False) -> None:
    """Write every file of a report.

    Args:
        folder: where.
        results: the result object.
        page: makes index.html; None: there is none.
        handshakes: JSON of its handshakes by key, as far as that has been made before.
        given_up: asked again and again whether the rest need not be written any more.

    Raises:
        OSError: a file cannot be written.
    """
    write_atomically(folder / "results.json", as_json(results, handshakes or {}), given_up=given_up)
    makers: list[tuple[str, Callable[[dict[str, Any]], bytes]]] = [
        ("junit.xml", junit.render),
        ("summary.md", functools.partial(summary.render, page=page is not None,
                                         filed=(folder / FILE).is_file()))]
    if page is not None:
        makers.append(("index.html", page.render))
    for name, make in makers:
        if given_up():
            return
        write_atomically(folder / name, [make(results)], given_up=given_up)


def as_json(results: dict[str, Any], handshakes: Mapping[str, str]) -> Iterator[bytes]:
    """Yield results.json: every row of a list, and every handshake, on a line of its own.

    That can be read, searched by line and compared; and unlike an indented document it is made by
    the fast encoder, and never in memory as a whole. ``handshakes`` holds the JSON of handshakes by
    key, where it has been made before.
    """
    opened = "{\n"
    for name, value in results.items():
        yield f"{opened}{_text(name)}: ".encode()
        if name == "handshakes":
            yield from _lines("{}", (f"{_text(key)}: {handshakes.get(key) or _text(row)}"
                                     for key, row in value.items()))
        elif isinstance(value, list):
            yield from _lines("[]", map(_text, value))
        else:
            yield _text(value).encode()
        opened = ",\n"
    yield b"\n}\n"


def _lines(brackets: str, rows: Iterable[str]) -> Iterator[bytes]:
    before = brackets[0]
    for row in rows:
        yield f"{before}\n{row}".encode()
        before = ","
    yield (f"\n{brackets[1]}" if before == "," else brackets).encode()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def write_atomically(path: Path, parts: Iterable[bytes], *,
                     given_up: Callable[[], bool] = lambda: False) -> None:
    """Replace a file in one step, so that a reader never sees half of it.

    Once it is given up, the file stays as it was.
    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.writelines(itertools.takewhile(lambda _: not given_up(), parts))
            if given_up():
                return
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
