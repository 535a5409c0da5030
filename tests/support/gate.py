"""The gate's own run of the tests: what failed is tried once more, and closing lines for a person.

``pytest --gate`` lets every test that failed run once more, when nothing else runs any more. What
passes then is ``unsteady``: named with its first failure, and red only where there is more of it
than UNSTEADY_AT_MOST. What fails again is failed. (Tests only: no check of the harness retries.)
Every failure is named when it happens.
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

UNSTEADY_AT_MOST = 2
"""Causes of failures that may come and go in one green run."""
TRIED_AGAIN_AT_MOST = 10
"""Causes that are tried again: more than these are no accident."""
_OUTCOMES = "--gate-outcomes"
_BEYOND = "beyond_gate"
_SENTENCE = 200
"""Characters."""


@dataclass(frozen=True)
class Cause:
    """What went wrong: a test, or the set-up that failed for all tests that share it."""

    tests: tuple[str, ...]
    sentence: str

    @property
    def name(self) -> str:
        """The first test, and how many more the same set-up failed."""
        more = len(self.tests) - 1
        return self.tests[0] + (f" (and {more} more, one set-up)" if more else "")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("gate", "the gate's run")
    group.addoption("--gate", action="store_true", help=(
        "try what failed once more, alone, at the end; end with lines for a person"))
    group.addoption("--all", action="store_true", help=(
        "with --gate: also what is marked beyond_gate"))
    group.addoption(_OUTCOMES, metavar="FILE", help="write which tests passed, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Add the plugin that was asked for, where tests are reported and not only run."""
    config.addinivalue_line("markers", f"{_BEYOND}(why): it runs with make test-all alone")
    if hasattr(config, "workerinput"):
        return
    if config.getoption("--gate"):
        config.option.reportchars = ""
        config.pluginmanager.register(_Gate(config))
    if path := config.getoption(_OUTCOMES):
        config.pluginmanager.register(_Outcomes(Path(path)))


@pytest.hookimpl(tryfirst=True)  # before anything is set up
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the gate has no time for."""
    beyond = item.get_closest_marker(_BEYOND)
    if beyond and item.config.getoption("--gate") and not item.config.getoption("--all"):
        pytest.skip(f"left to make test-all: {beyond.args[0]}")


class _Outcomes:
    """Writes down which tests passed from set-up to tear-down."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._passed.setdefault(report.nodeid, report.passed)
        if report.failed:
            self._passed[report.nodeid] = False

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps([name for name, passed in self._passed.items() if passed]))


class _Gate:
    """Tries again at the end of a run, and closes it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._failed: list[Cause] = []
        self._unsteady: list[Cause] = []

    @property
    def _reporter(self) -> pytest.TerminalReporter:
        found = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(found, pytest.TerminalReporter)
        return found

    @pytest.hookimpl(trylast=True)  # after the letter that stands for it
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Name what failed at once: the run goes on for minutes."""
        if report.failed:
            self._reporter.ensure_newline()
            self._reporter.write_line(f"failed: {report.nodeid} - {_sentence(report)}", red=True)

    @pytest.hookimpl(trylast=True)  # when pytest-xdist has ended its workers
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Try again what failed, and let the run pass if that passes and is little."""
        if session.exitstatus != pytest.ExitCode.TESTS_FAILED:
            return
        reports = [report for kind in ("failed", "error")
                   for report in self._reporter.getreports(kind)]
        causes = causes_of(reports)
        passed: set[str] = set()
        if len(causes) <= TRIED_AGAIN_AT_MOST:
            tests = [test for cause in causes for test in cause.tests]
            self._reporter.section(f"once more, alone: {len(tests)}")
            passed = _passed_alone(self._config.rootpath, tests)
        for cause in causes:
            (self._unsteady if passed.issuperset(cause.tests) else self._failed).append(cause)
        self._set_apart(passed)
        if not self._failed and len(self._unsteady) <= UNSTEADY_AT_MOST:
            session.exitstatus = pytest.ExitCode.OK

    def _set_apart(self, passed: set[str]) -> None:
        """Count what passed alone as unsteady and not as failed."""
        stats = self._reporter.stats
        tests = {test for cause in self._unsteady for test in cause.tests}
        for kind in ("failed", "error"):
            reports = stats.pop(kind, [])
            stats["unsteady"] = stats.get("unsteady", []) + [
                report for report in reports if report.nodeid in tests]
            if left := [report for report in reports if report.nodeid not in tests]:
                stats[kind] = left
        if not stats.get("unsteady"):
            stats.pop("unsteady", None)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what a person wants to know at the end."""
        write = terminalreporter.write_line
        for report in terminalreporter.getreports("unsteady"):
            terminalreporter.write_sep("_", f"first failure of {report.nodeid}")
            report.toterminal(terminalreporter._tw)
        terminalreporter.section("what it came to")
        for line in _by_folder(_seconds(terminalreporter)):
            write(line)
        for line in _skipped(terminalreporter.getreports("skipped")):
            write(line)
        for cause in self._unsteady:
            write(f"UNSTEADY {cause.name} - {cause.sentence}", yellow=True)
        if len(self._unsteady) > UNSTEADY_AT_MOST:
            write(f"More than {UNSTEADY_AT_MOST} are unsteady, so this run is red.", red=True)
        for cause in self._failed:
            write(f"FAILED {cause.name} - {cause.sentence}", red=True)


def causes_of(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[Cause]:
    """Return what went wrong, a set-up that several tests of one file share only once."""
    tests: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for report in reports:
        sentence = _sentence(report)
        shared = getattr(report, "when", "") == "setup"
        file = report.nodeid.partition("::")[0]
        key = (file, _place(report), sentence) if shared else (report.nodeid, "", sentence)
        tests[key].append(report.nodeid)
    return sorted((Cause(tuple(dict.fromkeys(names)), key[-1]) for key, names in tests.items()),
                  key=lambda cause: cause.tests)


def _place(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"{crash.path}:{crash.lineno}" if crash else ""


def _sentence(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return how what a report says went wrong begins."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = " ".join((crash.message if crash else str(report.longrepr)).split())
    return textwrap.shorten(said, _SENTENCE, placeholder=" ...") or "it says nothing"


def _passed_alone(root: Path, tests: Sequence[str]) -> set[str]:
    """Run tests once more, in one process and one after the other; return those that pass."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        names, outcomes = Path(folder, "names"), Path(folder, "outcomes")
        names.write_text("\n".join(tests))
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-rN", f"{_OUTCOMES}={outcomes}",
                        f"@{names}"], cwd=root, check=False)
        return set(json.loads(outcomes.read_text())) if outcomes.exists() else set()


def _seconds(reporter: pytest.TerminalReporter) -> dict[str, float]:
    """Return the time of each test, what was set up and torn down for it included."""
    found: defaultdict[str, float] = defaultdict(float)
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                found[report.nodeid] += report.duration
    return found


def _by_folder(seconds: dict[str, float]) -> Iterator[str]:
    """Yield a line for each folder of tests: how many, and their time together."""
    folders: defaultdict[str, list[float]] = defaultdict(list)
    for test, took in seconds.items():
        folders[test.partition("::")[0].rpartition("/")[0] or "."].append(took)
    for folder, each in sorted(folders.items(), key=lambda one: -sum(one[1])):
        yield f"{sum(each):7.0f} s  {len(each):5} tests  {folder}"


def _skipped(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Yield a line for each reason why tests were skipped."""
    tests: defaultdict[str, list[str]] = defaultdict(list)
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        tests[reason.removeprefix("Skipped: ")].append(report.nodeid.partition("::")[0])
    for reason, files in tests.items():
        yield f"SKIPPED {len(files)}: {reason} ({', '.join(dict.fromkeys(files))})"
