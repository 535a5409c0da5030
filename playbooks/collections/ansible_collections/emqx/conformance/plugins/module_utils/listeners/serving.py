"""What EMQX's schema takes and the node then does not boot with, or serves nobody with.

An error is what no client gets through; a warning, what some client or other configuration may.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import grammar
from .ciphers import key_of, needs_shared_secret_or_old_library
from .problems import Problems
from .release import Release, reads_password_files

# EMQX's default of node.process_limit; each acceptor is a process.
_MAX_PROCESSES = 2_097_152
# 10^20 connections a second kept 5.3.2 from booting: a counter of its limiter has 64 bits.
_MAX_CONN_RATE = 10**18
# OTP's bound of the option.
_MAX_DEPTH = 255
# A handshake has two round trips and the signature of the server; devices are far away.
_SHORTEST_HANDSHAKE_MS = 100
_SHORTEST_WITHOUT_UNIT_MS = 1000

_EDWARDS = frozenset({"Ed25519", "Ed448"})
WHY_NO_EDWARDS_KEY = "Erlang/OTP serves nobody at TLS 1.2 with an Ed25519 or Ed448 key"
BUT_NO_HANDSHAKE = "EMQX boots, but every handshake fails"


def versions_of(options: Mapping[str, Any]) -> Sequence[str]:
    """Return the TLS versions that EMQX speaks, which picks them where none is named."""
    return options.get("versions") or ("tlsv1.3", "tlsv1.2")


def check_listener(path: str, listener: Mapping[str, Any], release: Release,
                   problems: Problems) -> None:
    """Check an enabled listener's own keys."""
    acceptors = listener.get("acceptors", 1)
    if acceptors > _MAX_PROCESSES:
        problems.error(f"{path}.acceptors", f"must be at most {_MAX_PROCESSES}: EMQX does not boot "
                                            f"with more than it may have processes")
    if grammar.quota(listener.get("max_conn_rate", "infinity")) > _MAX_CONN_RATE:
        problems.error(f"{path}.max_conn_rate", "is more than EMQX counts, and it does not boot: "
                                                "write infinity for no limit")
    if listener.get("proxy_protocol") \
            and grammar.milliseconds(listener.get("proxy_protocol_timeout", "3s")) == 0:
        problems.error(f"{path}.proxy_protocol_timeout",
                       f"must be more than 0: EMQX {release} boots, but closes every connection")
    if listener.get("zone", "default") != "default":
        problems.warn(f"{path}.zone", "is no zone that is rendered here: where EMQX's own "
                                      "configuration has none of this name, TLS works, but MQTT "
                                      "may be closed without a CONNACK")
    if listener.get("tcp_options", {}).get("active_n") == 0:
        problems.warn(f"{path}.tcp_options.active_n", "is 0, with which EMQX boots, but reads "
                                                      "nothing from its clients: leave it out")


def check_tls(path: str, options: Mapping[str, Any], release: Release,
              problems: Problems) -> None:
    """Check an enabled listener's ssl_options, as far as they tell without looking at files."""
    for needed in ("certfile", "keyfile"):
        if needed not in options:
            problems.error(f"{path}.{needed}", f"cannot be removed: a TLS listener needs it "
                                               f"({BUT_NO_HANDSHAKE})")
    if options.get("verify") == "verify_peer" and "cacertfile" not in options \
            and not options.get("cacerts"):
        problems.error(f"{path}.cacertfile", f"cannot be removed with verify: verify_peer "
                                             f"({BUT_NO_HANDSHAKE})")
    if options.get("depth", 0) > _MAX_DEPTH:
        problems.error(f"{path}.depth", f"must be at most {_MAX_DEPTH}: with more, EMQX does not "
                                        f"boot, or boots and every handshake fails")
    _check_handshake_timeout(f"{path}.handshake_timeout", options.get("handshake_timeout", "15s"),
                             release, problems)
    versions = versions_of(options)
    if "tlsv1.2" not in versions:
        problems.warn(f"{path}.versions", "without tlsv1.2 there are no session IDs to resume")
    ciphers = options.get("ciphers", [])
    if ciphers and "tlsv1.3" not in versions \
            and all(needs_shared_secret_or_old_library(cipher) for cipher in ciphers):
        problems.warn(f"{path}.ciphers", "has only suites that need a shared secret (PSK, SRP) or "
                                         "that OpenSSL 3 no longer offers (RC4, DES): EMQX boots, "
                                         "but most clients' handshakes fail")


def _check_handshake_timeout(path: str, timeout: int | str, release: Release,
                             problems: Problems) -> None:
    ms = grammar.milliseconds(timeout)
    without_unit = str(timeout).isdigit()
    if ms == 0:
        problems.error(path, f"must be more than 0: EMQX {release} boots, but every handshake "
                             f"fails")
    elif ms < _SHORTEST_HANDSHAKE_MS or (without_unit and ms < _SHORTEST_WITHOUT_UNIT_MS):
        meant = f": if seconds are meant, write {timeout}s" if without_unit else ""
        problems.warn(path, f"is {ms} ms, in which few handshakes end{meant}")


def check_password(path: str, options: Mapping[str, Any], release: Release, problems: Problems, *,
                   encrypted: bool | None) -> None:
    """Check that the key's passphrase gets to EMQX; ``encrypted`` is None where nobody looked."""
    if not str(options.get("password", "")).startswith("file://") or encrypted is False \
            or reads_password_files(release):
        return
    sentence = (f"EMQX {release} takes file://… for the passphrase itself (it reads the file from "
                f"5.8.2 on)")
    if encrypted:
        problems.error(path, f"{sentence}, and every handshake fails: use a key without a "
                             f"passphrase")
    else:
        problems.warn(path, f"{sentence}: if the key is encrypted, every handshake fails")


def check_key(path: str, options: Mapping[str, Any], key_type: str, problems: Problems) -> None:
    """Check that TLS 1.2 can be served with the server's key."""
    if key_type not in _EDWARDS:
        return
    if "tlsv1.3" in versions_of(options):
        problems.warn(f"{path}.certfile", f"is for an {key_type} key: {WHY_NO_EDWARDS_KEY}, so "
                                          f"that clients get TLS 1.3 or nothing")
    else:
        problems.error(f"{path}.certfile", f"is for an {key_type} key: {WHY_NO_EDWARDS_KEY} "
                                           f"({BUT_NO_HANDSHAKE})")


def check_suites(path: str, options: Mapping[str, Any], key_type: str | None,
                 problems: Problems) -> None:
    """Check that a suite is for the server's key, where its type is known."""
    ciphers = options.get("ciphers", [])
    wanted = {key_of(cipher) for cipher in ciphers}
    if ciphers and key_type and key_type not in _EDWARDS and "tlsv1.3" not in versions_of(options) \
            and wanted.isdisjoint({key_type, ""}):
        problems.error(f"{path}.ciphers", f"has no suite for the {key_type} key of certfile: "
                                          f"{BUT_NO_HANDSHAKE}")
