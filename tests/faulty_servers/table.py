"""The table of servers and checks: status and reason of each, as ``servers.yml`` holds it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("servers.yml")
KINDS = ("messages", "openssl", "otp")
ALARMS = ("failed", "warned", "error", "known")
"""Statuses that say: something is wrong."""
_KEYS = frozenset((*KINDS, "what", "nodes", "balancer", "cache", "mqtt", "certificate", "key",
                   "declared", "finds", "says"))


class TableError(Exception):
    """The table makes no sense; the sentence says where."""


@dataclass(frozen=True)
class Expected:
    """One finding that must be there."""

    check: str
    subject: str
    """``n1``, ``n1->n2``, or ``*``: all of this check's."""
    status: str
    reason: str

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"


@dataclass(frozen=True)
class Row:
    """One server, and what must be found in it."""

    name: str
    what: str
    """What is wrong with it, in one sentence."""
    kind: str
    """One of KINDS."""
    how: Any
    """What its kind needs to know: a list of faults, or options."""
    cache: tuple[tuple[str, Any], ...] = ()
    """How long (``lifetime_s``) and how many (``cache_max``) sessions are kept; only messages."""
    nodes: int = 1
    balancer: tuple[tuple[str, Any], ...] = ()
    """What is before them: its ``mode`` (tests/support/tcp_balancer.py), the ``affinity`` that is
    declared of it, and how many of the nodes are ``hidden`` behind it, not in the inventory."""
    mqtt: tuple[str, ...] = ()
    """Faults of its MQTT."""
    certificate: str = ""
    """What is wrong with its certificate; empty when nothing is."""
    key: str = "RSA"
    """What kind of key the certificate is for: ``RSA`` or ``Ed25519``."""
    declared: tuple[tuple[str, Any], ...] = ()
    """What the inventory says of it, where that is not the default."""
    finds: tuple[Expected, ...] = ()
    says: tuple[tuple[str, str], ...] = ()
    """A check's id, and what is to stand in each of its sentences."""

    @property
    def planted(self) -> bool:
        """Tell whether there is a defect that must be detected."""
        return bool(self.alarms)

    @property
    def alarms(self) -> tuple[Expected, ...]:
        """What must be complained of, without what is skipped because of it."""
        return tuple(found for found in self.finds if found.status in ALARMS)


def _flat(listed: list[Any]) -> Iterator[str]:
    # YAML cannot join lists: one that stands in another is an alias.
    for one in listed:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield str(one)


def _finds(name: str, told: dict[str, list[Any]]) -> Iterator[Expected]:
    seen = set()
    for verdict, where in told.items():
        status, _, reason = verdict.partition(" ")
        if status not in (*ALARMS, "info", "skipped") or not reason:
            raise TableError(f"{name}: {verdict!r} is no status and reason to look for")
        for one in _flat(where):
            check, _, subject = one.partition(" ")
            if (check, subject) in seen:
                raise TableError(f"{name}: {one} is there twice")
            seen.add((check, subject))
            yield Expected(check, subject or "*", status, reason)


def _row(name: str, told: dict[str, Any]) -> Row:
    kinds = [kind for kind in KINDS if kind in told]
    if unknown := set(told) - _KEYS:
        raise TableError(f"{name}: nobody knows {', '.join(sorted(unknown))}")
    if len(kinds) != 1 or not told.get("what"):
        raise TableError(f"{name}: needs a sentence (what) and one of {', '.join(KINDS)}")
    return Row(name, told["what"], kinds[0], told[kinds[0]],
               tuple(told.get("cache", {}).items()), told.get("nodes", 1),
               tuple(told.get("balancer", {}).items()),
               tuple(told.get("mqtt", ())), told.get("certificate", ""), told.get("key", "RSA"),
               tuple(told.get("declared", {}).items()),
               tuple(_finds(name, told.get("finds", {}))),
               tuple((check, text) for check, texts in told.get("says", {}).items()
                     for text in _flat([texts])))


def read(path: Path = TABLE) -> dict[str, Row]:
    """Return all rows, by name.

    Raises:
        TableError: a row makes no sense.
    """
    told = yaml.safe_load(path.read_text())["servers"]
    return {name: _row(name, row) for name, row in told.items()}
