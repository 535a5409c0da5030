"""From EMQX's listeners to what the embedded node boots from."""
from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..listeners import schema
from ..listeners.grammar import milliseconds
from ..listeners.kinds import Kind, WrongValueError, split_bind
from ..listeners.nearest import did_you_mean
from ..listeners.release import Release, reuses_by_default
from ..listeners.reuse import told_to_otp
from .terms import Atom, Term

CONNECT_TIMEOUT_MS = 15_000
"""How long a node waits for CONNECT: EMQX's default for mqtt.idle_timeout."""
MAX_PACKET_SIZE = 1024 * 1024
"""In bytes: EMQX's default for mqtt.max_packet_size."""


class ConversionError(Exception):
    """The embedded node cannot boot from this; the sentence has the key's path."""


@dataclass(frozen=True)
class SslListener:
    """One ``ssl`` listener with every implemented key set, durations in milliseconds.

    ``reuse_sessions`` alone may be missing: where EMQX of the release tells Erlang/OTP nothing.
    """

    name: str
    address: str
    port: int
    acceptors: int
    max_connections: int | None
    """None: no limit."""
    proxy_protocol: bool
    """Whether a client's first bytes are preceded by a PROXY protocol header."""
    proxy_protocol_timeout: int
    ssl_options: Mapping[str, Term]

    @property
    def path(self) -> str:
        """Where it stands in listeners.hocon."""
        return f"listeners.ssl.{self.name}"

    @property
    def versions(self) -> tuple[str, ...]:
        """Protocol versions as EMQX spells them."""
        versions = self.ssl_options["versions"]
        return tuple(version.name for version in versions if isinstance(version, Atom)) \
            if isinstance(versions, list) else ()

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the certificate and key files."""
        return tuple(str(self.ssl_options[key]) for key in _PATHS if key in self.ssl_options)

    def term(self) -> Term:
        """Return the Erlang form."""
        unlimited = self.max_connections is None
        return {
            "name": self.name, "type": Atom("ssl"), "bind": (self.address, self.port),
            "acceptors": self.acceptors,
            "max_connections": Atom("infinity") if unlimited else self.max_connections or 0,
            "proxy_protocol": self.proxy_protocol,
            "proxy_protocol_timeout": self.proxy_protocol_timeout,
            "ssl_options": self.ssl_options,
        }


@dataclass
class Converted:
    """The enabled listeners, and what is in the file without effect here."""

    listeners: list[SslListener] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


# EMQX's own defaults, for a file that leaves something out.
_LISTENER_DEFAULTS: Mapping[str, Any] = {
    "enable": True, "bind": 8883, "acceptors": 16, "max_connections": "infinity",
    "proxy_protocol": False, "proxy_protocol_timeout": "3s"}
_SSL_DEFAULTS: Mapping[str, Any] = {
    "versions": ["tlsv1.3", "tlsv1.2"], "ciphers": [], "verify": "verify_none",
    "fail_if_no_peer_cert": False, "depth": 10, "reuse_sessions": True,
    "honor_cipher_order": True, "secure_renegotiate": True, "client_renegotiation": True,
    "enable_crl_check": False, "handshake_timeout": "15s", "hibernate_after": "5s",
    "log_level": "notice"}

_PATHS = ("cacertfile", "certfile", "keyfile")
_ATOMS = frozenset(("verify", "log_level"))
_DURATIONS = frozenset(("handshake_timeout", "hibernate_after"))
_IMPLEMENTED = frozenset(_LISTENER_DEFAULTS)
_IMPLEMENTED_SSL = frozenset(_SSL_DEFAULTS) | frozenset(_PATHS)

_NO_EFFECT = "known to EMQX, not implemented by the embedded node, without effect here"


def convert(tree: Mapping[str, Any], release: Release) -> Converted:
    """Convert the content of ``listeners.hocon``.

    Raises:
        ConversionError: a key that this release does not know, or a value of the wrong kind.
    """
    _refuse_unknown("", tree, frozenset(("listeners",)))
    types = _mapping("listeners", tree.get("listeners", {}))
    _refuse_unknown("listeners", types, frozenset(schema.LISTENER_TYPES))
    conversion = _Conversion(release)
    for listener_type, named in types.items():
        for name, keys in _mapping(f"listeners.{listener_type}", named).items():
            if keys is not None:
                conversion.add(listener_type, name, keys)
    return conversion.converted


class _Conversion:
    """Takes listener after listener."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self.converted = Converted()

    def add(self, listener_type: str, name: str, keys: Any) -> None:
        path = f"listeners.{listener_type}.{name}"
        settings = {schema.LISTENER_ALIASES.get(key, key): value
                    for key, value in _mapping(path, keys).items() if value is not None}
        _refuse_unknown(path, settings, schema.known_keys(self._release, listener_type))
        own = {key: _read(f"{path}.{key}", schema.LISTENER[key].holds_in(self._release), value)
               for key, value in {**_LISTENER_DEFAULTS, **settings}.items()
               if key in _IMPLEMENTED}
        if not own["enable"]:
            return
        if listener_type != "ssl":
            self.converted.warnings.append(
                f"{path}: not implemented by the embedded node, not opened")
            return
        self._warn(path, settings, _IMPLEMENTED | {"ssl_options"})
        address, port = split_bind(own["bind"])
        limit = own["max_connections"]
        self.converted.listeners.append(SslListener(
            name=name,
            address=str(ipaddress.ip_address(address or "0.0.0.0")),  # noqa: S104 - EMQX's default
            port=port, acceptors=own["acceptors"],
            max_connections=None if limit == "infinity" else int(limit),
            proxy_protocol=own["proxy_protocol"],
            proxy_protocol_timeout=milliseconds(own["proxy_protocol_timeout"]),
            ssl_options=self._ssl_options(f"{path}.ssl_options",
                                          settings.get("ssl_options", {}))))

    def _ssl_options(self, path: str, given: Any) -> dict[str, Term]:
        # No version named is no choice, to EMQX.
        options = {key: value for key, value in _mapping(path, given).items()
                   if value is not None and (key, value) != ("versions", [])}
        _refuse_unknown(path, options, schema.known_keys(self._release, "ssl", "ssl_options"))
        self._warn(path, options, _IMPLEMENTED_SSL)
        defaults = {**_SSL_DEFAULTS, "reuse_sessions": reuses_by_default(self._release)}
        result: dict[str, Term] = {}
        for key, value in {**defaults, **options}.items():
            if key in _IMPLEMENTED_SSL:
                kind = schema.SSL_OPTIONS[key].holds_in(self._release)
                result[key] = _ssl_term(f"{path}.{key}", key,
                                        _read(f"{path}.{key}", kind, value))
        if told_to_otp(self._release, value=result["reuse_sessions"] is True) is None:
            del result["reuse_sessions"]
        return result

    def _warn(self, path: str, keys: Mapping[str, Any], implemented: frozenset[str]) -> None:
        self.converted.warnings += [f"{path}.{key}: {_NO_EFFECT}"
                                    for key in sorted(keys) if key not in implemented]


def _ssl_term(path: str, key: str, value: Any) -> Term:
    if key in _ATOMS:
        return Atom(value)
    if key in _DURATIONS:
        return milliseconds(value)
    if key == "versions":
        wrong = [version for version in value if version not in schema.TLS_VERSIONS]
        if wrong:
            raise ConversionError(f"{path} must be some of {', '.join(schema.TLS_VERSIONS)}, not "
                                  f"{', '.join(wrong)}")
        return [Atom(version) for version in value]
    if isinstance(value, (bool, int, str)):
        return value
    return [str(item) for item in value]


def _mapping(path: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConversionError(f"{path} must be an object")
    return value


def _refuse_unknown(path: str, keys: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in keys:
        if key not in known:
            where = f"{path}.{key}" if path else key
            raise ConversionError(f"{where}: EMQX knows no such key{did_you_mean(key, known)}")


def _read(path: str, kind: Any, value: Any) -> Any:
    if not isinstance(kind, Kind):
        raise TypeError(f"{path} holds keys, not a value")
    try:
        return kind.read(value)
    except WrongValueError as error:
        raise ConversionError(f"{path} must be {error}, not {value!r}") from None
