"""Verify each ssl listener of nodes by itself: does it resume, and does a session stay in it?

A verification probes one listener of a node (``emqx_tls_port``). Here each listener takes the place
of a node, so that CORE-02 is asked of all of them, each by a client that it lets in.
"""
from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from .drivers.external import ExternalDriver
from .identity import DeclaredOtp
from .model import Endpoint, TrustDomain
from .run.check import Impact
from .run.choosing import Choice
from .run.target import Settings, Target
from .tls.trust import Trust
from .verify import Request, announced, verify

HOME = "CORE-02"
"""Does a session resume where it was made?"""
ACROSS = "SEC-01"
"""Does it resume on a listener that does not trust its client's CA?"""
OUTLIVED = "SEC-06"
"""Does it resume when its client's certificate has expired?"""


@dataclass(frozen=True)
class Listener:
    """One ``ssl`` listener of a node, and who asks it."""

    name: str
    """What findings call it."""
    host: str
    port: int
    server_name: str
    client_cert: str | None = None
    """PEM file of a client that it lets in; None: it asks for no certificate."""
    client_key: str | None = None
    domains: tuple[TrustDomain, ...] = ()
    """The listeners of its node between which no session may get."""


@dataclass(frozen=True)
class Asked:
    """What is the same for all listeners; the fields are those of a verification."""

    ca: str | None
    reports_dir: Path
    checks: tuple[str, ...] = (HOME, ACROSS)
    impact: Impact = Impact.SAFE
    settings: Settings = field(default_factory=Settings)
    declared: Mapping[str, DeclaredOtp] = field(default_factory=dict)
    """By name of a listener: its Erlang/OTP release, where its node does not tell."""
    page_template: Path | None = None
    root: Path | None = None


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    findings: dict[str, dict[str, dict[str, Any]]]
    """Listener -> check -> its finding, as results.json has it."""
    reports: tuple[Path, ...]
    """Folders of the reports: one for each client."""


def requests(listeners: Iterable[Listener], asked: Asked) -> list[Request]:
    """Return one verification for each client: a run has one, and each listener its own.

    Whoever asks for no certificate is asked by the first.
    """
    listeners = list(listeners)
    groups: dict[_Client, list[Listener]] = {}
    for one in listeners:
        if one.client_cert:
            groups.setdefault((one.client_cert, one.client_key), []).append(one)
    first: _Client = next(iter(groups), (None, None))
    for one in listeners:
        if not one.client_cert:
            groups.setdefault(first, []).append(one)
    return [_request(who, group, asked) for who, group in groups.items()]


_Client = tuple[Optional[str], Optional[str]]
"""PEM files of its certificate and key."""


def _request(who: _Client, group: Sequence[Listener],
             asked: Asked) -> Request:
    domains = {one.name: one.domains for one in group if one.domains}
    # A check that nothing can be asked of would be an error of the run.
    checks = tuple(check for check in asked.checks if check == HOME or domains)
    return Request(
        target=Target(
            {one.name: Endpoint(one.name, one.host, one.port, one.server_name) for one in group},
            asked.settings, ExternalDriver.name, frozenset(), ExternalDriver.limits,
            trust_domains=domains),
        trust=Trust(asked.ca, *who), max_impact=asked.impact, reports_dir=asked.reports_dir,
        declared={one.name: asked.declared[one.name] for one in group
                  if one.name in asked.declared},
        page_template=asked.page_template, root=asked.root, choice=Choice(checks))


def foretold(listeners: Iterable[Listener], asked: Asked) -> list[str]:
    """Return for people what it costs the listeners; nothing is connected to."""
    return [sentence for wanted in requests(listeners, asked) for sentence in announced(wanted)]


def measure(listeners: Iterable[Listener], asked: Asked, stop: threading.Event) -> Answer:
    """Verify all of them, client after client, and write a report each time.

    Raises:
        EngineError: a certificate file is missing or unusable.
        PageError: the template of index.html cannot be read.
        OSError: a report cannot be written.
    """
    findings: dict[str, dict[str, dict[str, Any]]] = {}
    reports = []
    for wanted in requests(listeners, asked):
        results, folder = verify(wanted, stop)
        reports.append(folder)
        for row in results["checks"]:
            findings.setdefault(row["subject"], {})[row["id"]] = row
    return Answer(findings, tuple(reports))
