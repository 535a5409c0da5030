"""Trust domains of a node: listeners that demand client certificates, each signed by its own CA.

Pure but for looking at the files: whoever calls has evaluated the variable
``resumption_trust_domains``. Every refusal is a sentence, and never shows a key.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .listeners import kinds
from .listeners.kinds import WrongValueError
from .listeners.nearest import did_you_mean

VARIABLE = "resumption_trust_domains"
GENERATED_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,31}")
"""How a domain may be called that certificates are made for: it begins the names of files."""
_NEEDED = ("name", "port", "client_cert", "client_key")
_FILES = ("client_cert", "client_key", "ca_cert", "ca_key")
_KEYS = ("name", "port", *_FILES)
_PORT = kinds.integer(1, kinds.MAX_PORT)


@dataclass(frozen=True)
class TrustDomain:
    """One listener of a node, and a client that it lets in."""

    name: str
    """What messages call it."""
    port: int
    client_cert: str
    """Path of a PEM file, as are the others."""
    client_key: str
    ca_cert: str | None = None
    """Whom the listener trusts: for checks that replace this, or issue certificates."""
    ca_key: str | None = None

    def __str__(self) -> str:
        return self.name


def read(rows: Sequence[Mapping[str, Any]], host: str, root: Path,
         is_generated: Callable[[str], bool]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a node's domains with absolute paths, and what is wrong with them.

    Args:
        rows: what the user wrote.
        host: the node, for the sentences.
        root: where relative paths begin.
        is_generated: tells of a path whether the deploy makes that file.
    """
    found: list[TrustDomain] = []
    problems: list[str] = []
    for number, row in enumerate(rows, 1):
        where = f"{VARIABLE} of {host}: domain {number}"
        wrong = _wrong_keys(row)
        if not wrong:
            try:
                found.append(TrustDomain(str(row["name"]), int(_PORT.read(row["port"])), **{
                    key: str(root / Path(str(row[key])).expanduser())
                    for key in _FILES if row.get(key)}))
            except WrongValueError as error:
                wrong = [f"has a port that must be {error}, not {row['port']!r}"]
        problems += [f"{where} {sentence}{'' if sentence.endswith('?') else '.'}"
                     for sentence in wrong]
    problems += _clashes(found, host)
    problems += [problem for domain in found for problem in _file_problems(
        domain, host, is_generated)]
    return [asdict(domain) for domain in found], problems


def _wrong_keys(row: Mapping[str, Any]) -> list[str]:
    wrong = [f'has the unknown key "{key}"'
             f"{did_you_mean(str(key), _KEYS)}" for key in row if key not in _KEYS]
    wrong += [f"has no {key}" for key in _NEEDED if row.get(key) in (None, "")]
    wrong += [f"has a {key} that must be a string" for key in ("name", *_FILES)
              if row.get(key) is not None and not isinstance(row[key], str)]
    for key in _FILES:
        try:
            kinds.refuse_content(row.get(key))
        except WrongValueError as error:
            wrong.append(f"has a {key} that must be {error}")
    if row.get("ca_key") and not row.get("ca_cert"):
        wrong.append("has a ca_key and no ca_cert: they go together")
    return wrong


def _clashes(found: Sequence[TrustDomain], host: str) -> list[str]:
    problems = []
    by_name: dict[str, TrustDomain] = {}
    by_port: dict[int, TrustDomain] = {}
    for domain in found:
        if domain.name in by_name:
            problems.append(f"{VARIABLE} of {host}: two domains are called {domain.name}.")
        if domain.port in by_port:
            problems.append(f"{VARIABLE} of {host}: {by_port[domain.port]} and {domain} have the "
                            f"same port {domain.port}: give each domain its own listener.")
        by_name.setdefault(domain.name, domain)
        by_port.setdefault(domain.port, domain)
    return problems


def _file_problems(domain: TrustDomain, host: str,
                   is_generated: Callable[[str], bool]) -> list[str]:
    problems = []
    for key in _FILES:
        path = getattr(domain, key)
        if path is None or is_generated(path):
            continue
        where = f"{VARIABLE} of {host}: {key} of {domain} names"
        try:
            with Path(path).open("rb"):
                pass
        except FileNotFoundError:
            problems.append(f"{where} the file {path}, which does not exist.")
        except OSError as error:
            problems.append(f"{where} {path}, which cannot be read: {error.strerror}.")
    return problems


def listener_problems(domains: Sequence[Mapping[str, Any]], host: str, own_port: int,
                      listeners: Mapping[int, Mapping[str, Any]] | None) -> list[str]:
    """Return what keeps domains from being listeners that demand client certificates.

    Args:
        domains: as :func:`read` returned them.
        host: the node, for the sentences.
        own_port: where the node is probed without a domain's client certificate.
        listeners: port -> keys of the node's enabled ssl listeners; None where nothing is
            rendered, and the listeners are somebody else's.
    """
    problems = []
    for domain in domains:
        name, port = domain["name"], domain["port"]
        if port == own_port:
            problems.append(f"{VARIABLE} of {host}: the port of {name} is {port}, the node's own "
                            "emqx_tls_port: a domain has a listener of its own.")
        elif listeners is None:
            continue
        elif port not in listeners:
            have = ", ".join(str(each) for each in sorted(listeners))
            problems.append(f"{VARIABLE} of {host}: no enabled ssl listener is bound to the port "
                            f"{port} of {name} (they are at {have}).")
        elif listeners[port].get("proxy_protocol"):
            problems.append(f"{VARIABLE} of {host}: the listener at the port {port} of {name} has "
                            "proxy_protocol = true and answers nobody who comes without a load "
                            "balancer, as the probe does: leave it out there.")
        elif not _demands(listeners[port]["ssl_options"]):
            problems.append(f"{VARIABLE} of {host}: the listener at the port {port} of {name} "
                            "demands no client certificate: set verify: verify_peer and "
                            "fail_if_no_peer_cert: true in its ssl_options.")
    return problems


def _demands(options: Mapping[str, Any]) -> bool:
    return options.get("verify") == "verify_peer" and options.get("fail_if_no_peer_cert") is True
