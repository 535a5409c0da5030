"""Fixtures of all tests, and how tests are spread where several run side by side (pytest -n).

A file's tests share what its fixtures have started, so they stay together; every molecule scenario
is by itself. The longest begin first, and among them what mostly waits, for deadlines and not for a
processor. Tests marked ``alone`` come last, when nothing else runs.
"""
from __future__ import annotations

import fcntl
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.openssl_broker import make_certificate

pytest_plugins = ["tests.support.gate"]

# How long an example takes tells of the machine, and of what else it does, not of what is tested.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
# Twenty times as many examples: pytest --hypothesis-profile=long
settings.register_profile("long", max_examples=2000, deadline=None)

LONGEST = (
    "test_debian13.py", "test_molecule.py::test_scenario[docker]", "integration/test_trust.py",
    "integration/test_docker_cluster.py", "test_molecule.py::test_scenario[staging]",
    "integration/test_journey.py", "integration/test_clean_servers.py", "test_molecule.py",
    "integration/")
"""Beginnings of what takes longest, in that order: begun last, it would be waited for alone."""
WAITING = "unit/checks/"
"""Part of the names of what mostly waits."""
BY_ITSELF = ("test_molecule.py::", "test_performance.py::test_openssl_resumes_faster",
             "test_debian13.py::")
"""Parts of the names of tests that do not stay with their file's others: scenarios, and what is to
be alone in a file of which the rest is not."""


class _Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands a worker whole files, in the order in which they are collected."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def _scope(nodeid: str) -> str:
    """Return the name of what stays together."""
    return nodeid if any(part in nodeid for part in BY_ITSELF) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Together:
    """Tell pytest-xdist how tests are spread."""
    return _Together(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "alone: it measures what others would disturb")


def _rank(scope: str) -> int:
    return next((place for place, part in enumerate(LONGEST) if part in scope), len(LONGEST))


def _mixed(scopes: Iterable[str]) -> list[str]:
    """Return the order in which they begin: what works and what waits in turn, longest first."""
    in_order = sorted(scopes, key=_rank)
    busy = [scope for scope in in_order if WAITING not in scope]
    waiting = [scope for scope in in_order if WAITING in scope]
    return [scope for pair in itertools.zip_longest(busy, waiting) for scope in pair if scope]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order them for several workers; one alone has no use for it."""
    if hasattr(config, "workerinput"):
        places = {scope: place for place, scope in enumerate(
            _mixed(dict.fromkeys(_scope(item.nodeid) for item in items)))}
        items.sort(key=lambda item: (item.get_closest_marker("alone") is not None,
                                     places[_scope(item.nodeid)]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Keep tests that are to be alone from running beside others, their fixtures included."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    # The folder of all workers is above each one's own.
    base: Path = item.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
    with (base / "alone.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded; a worker's own output is shown to nobody."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))
