"""Trust domains of a node: listeners that demand client certificates, each signed by its own CA.

Pure but for looking at the files: whoever calls has evaluated the variable
``resumption_trust_domains``. Every refusal is a sentence, and never shows a key.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..listeners import kinds
from ..listeners.kinds import WrongValueError
from ..listeners.nearest import did_you_mean
from ..model import Endpoint, TrustDomain
from .paths import unreadable

VARIABLE = "resumption_trust_domains"
_NEEDED = ("name", "port", "client_cert", "client_key")
_FILES = ("client_cert", "client_key", "ca_cert", "ca_key")
_KEYS = ("name", "port", *_FILES)
_PORT = kinds.integer(1, kinds.MAX_PORT)


def read(rows: Sequence[Mapping[str, Any]], host: str, root: Path,
         to_be_made: Collection[str], problems: list[str]) -> list[TrustDomain]:
    """Return a node's domains with absolute paths.

    Args:
        rows: what the user wrote.
        host: the node, for the sentences.
        root: where relative paths begin.
        to_be_made: the files that the deploy makes.
        problems: gets a sentence for each thing that is wrong with them.
    """
    found: list[TrustDomain] = []
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
    problems += [f"{VARIABLE} of {host}: {key} of {domain} names {why}."
                 for domain in found for key in _FILES
                 if (path := getattr(domain, key)) is not None and path not in to_be_made
                 and (why := unreadable(path))]
    return found


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


def listener_problems(domains: Sequence[TrustDomain], node: Endpoint,
                      listeners: Mapping[int, Mapping[str, Any]] | None) -> list[str]:
    """Return what keeps domains from being listeners that demand client certificates.

    Args:
        domains: those of the node.
        node: where it is probed without a domain's client certificate.
        listeners: port -> keys of the node's enabled ssl listeners; None where nothing is
            rendered, and the listeners are somebody else's.
    """
    problems = []
    for domain in domains:
        name, port, where = domain.name, domain.port, f"{VARIABLE} of {node.name}:"
        if port == node.port:
            problems.append(f"{where} the port of {name} is {port}, the node's own emqx_tls_port: "
                            "a domain has a listener of its own.")
        elif listeners is None:
            continue
        elif port not in listeners:
            have = ", ".join(str(each) for each in sorted(listeners))
            problems.append(f"{where} no enabled ssl listener is bound to the port {port} of "
                            f"{name} (they are at {have}).")
        elif listeners[port].get("proxy_protocol"):
            problems.append(f"{where} the listener at the port {port} of {name} has "
                            "proxy_protocol = true and answers nobody who comes without a load "
                            "balancer, as the probe does: leave it out there.")
        elif not _demands(listeners[port]["ssl_options"]):
            problems.append(f"{where} the listener at the port {port} of {name} demands no client "
                            "certificate: set verify: verify_peer and fail_if_no_peer_cert: true "
                            "in its ssl_options.")
    return problems


def _demands(options: Mapping[str, Any]) -> bool:
    return options.get("verify") == "verify_peer" and options.get("fail_if_no_peer_cert") is True
