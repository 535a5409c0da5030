"""What EMQX refuses at boot is refused here, with the path of the key.

:func:`read` turns the user's mapping into typed values and finds what is wrong with single
keys; :func:`check` looks at a completed mapping for what only shows when keys meet.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import grammar, kinds, schema, serving
from .ciphers import CIPHERS, cipher_hint
from .complete import ConfiguredNode, complete, is_enabled
from .files import Locate, as_named, check_files
from .kinds import Kind, WrongValueError
from .nearest import did_you_mean
from .problems import Problems
from .release import (
    Release,
    ignores_reuse_sessions,
    reads_password_files,
    separates_access_rules,
)
from .reuse import told_to_otp
from .schema import Key

# EMQX names a listener's processes type:name, and Erlang's atoms end here.
_LONGEST_ATOM = 255
# May hold passwords of their own.
_SECRETS = (".password", ".authentication")


@dataclass(frozen=True)
class Checked:
    """One node's completed listeners and what there is to say about them."""

    listeners: dict[str, Any]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check_node(node: ConfiguredNode, release: Release, locate: Locate = as_named) -> Checked:
    """Read, complete and check one node's listeners; ``locate`` says where its files are."""
    problems = Problems()
    typed = read(node.listeners, release, problems)
    if problems.errors:
        return Checked({}, tuple(problems.errors), tuple(problems.warnings))
    whole = complete(ConfiguredNode(node.name, node.host, node.port, typed, node.certificates))
    check(whole, release, problems, locate)
    return Checked(whole, tuple(problems.errors), tuple(problems.warnings))


def read(listeners: Mapping[str, Any], release: Release, problems: Problems) -> dict[str, Any]:
    """Return the mapping with every value of its key's kind; nulls stay (they remove keys)."""
    result: dict[str, Any] = {}
    for listener_type, names in listeners.items():
        path = f"listeners.{listener_type}"
        if listener_type == "quic":
            problems.error(path, "QUIC has TLS 1.3 only, which has no session IDs to resume; "
                                 "configure it in EMQX itself")
        elif listener_type not in schema.LISTENER_TYPES:
            problems.error(path, f"EMQX has no such listener type (it has "
                                 f"{', '.join(schema.LISTENER_TYPES)})"
                                 f"{did_you_mean(str(listener_type), schema.LISTENER_TYPES)}")
        elif names is None:
            result[listener_type] = None
        elif not isinstance(names, Mapping):
            problems.error(path, "must be a mapping from listener names to their keys")
        else:
            reader = _Reader(listener_type, release, problems)
            result[listener_type] = {name: reader.listener(f"{path}.{name}", name, keys)
                                     for name, keys in names.items()}
    return result


@dataclass(frozen=True)
class _Reader:
    """Reads the listeners of one type for one release."""

    listener_type: str
    release: Release
    problems: Problems

    def listener(self, path: str, name: Any, keys: Any) -> dict[str, Any] | None:
        """Read one listener, its keys spelled EMQX's first way."""
        if not kinds.is_name(name):
            self.problems.error(path, "a listener's name begins with a letter and has letters, "
                                      "digits, _ and - only")
            return None
        longest = _LONGEST_ATOM - len(f"{self.listener_type}:")
        if len(name) > longest:
            self.problems.error(path, f"a listener's name has at most {longest} characters: EMQX "
                                      f"does not boot with more")
            return None
        if keys is None:
            return None
        if not isinstance(keys, Mapping):
            self.problems.error(path, "must be a mapping of EMQX's keys")
            return None
        spelled: dict[str, Any] = {}
        for key, value in keys.items():
            proper = schema.LISTENER_ALIASES.get(str(key), str(key))
            if spelled.setdefault(proper, value) != value:
                other = next(name for name in keys
                             if name != proper and schema.LISTENER_ALIASES.get(name) == proper)
                self.problems.error(f"{path}.{other}",
                                    f'is another name of "{proper}": give one of them')
        return self._section(path, spelled, schema.LISTENER)

    def _section(self, path: str, values: Mapping[str, Any],
                 table: Mapping[str, Key]) -> dict[str, Any]:
        known = [name for name, key in table.items()
                 if key.known_to(self.release, self.listener_type)]
        result: dict[str, Any] = {}
        for name, value in values.items():
            below = f"{path}.{name}"
            if value is None and name in table and name not in known:
                # Nothing of it is written.
                continue
            if name not in known:
                self.problems.error(below, self._unknown(str(name), table.get(name), known))
            elif value is None:
                if name == "reuse_sessions":
                    self.problems.error(below, "cannot be removed, because EMQX's releases differ "
                                               "in its default: set true or false")
                result[name] = None
            else:
                result[name] = self._value(below, value, table[name].holds_in(self.release))
        return result

    def _unknown(self, name: str, key: Key | None, known: Iterable[str]) -> str:
        if key is None:
            return f"unknown to EMQX {self.release}{did_you_mean(name, known)}"
        if self.listener_type not in key.types:
            return (f"unknown to EMQX in a {self.listener_type} listener (known in "
                    f"{' and '.join(key.types)})")
        windows = ", ".join(
            f"from {window.since}" + (f" until before {window.before}" if window.before else "")
            for window in key.releases)
        return f"unknown to EMQX {self.release}, which would not boot (known {windows})"

    def _value(self, path: str, value: Any, holds: Kind | Mapping[str, Key]) -> Any:
        if not isinstance(holds, Kind):
            if isinstance(value, Mapping):
                return self._section(path, value, holds)
            self.problems.error(path, "must be a mapping of EMQX's keys")
            return None
        try:
            return holds.read(value)
        except WrongValueError as wrong:
            self.problems.error(path, f"must be {wrong}{_got(path, value)}")
            return None


def _got(path: str, value: Any) -> str:
    """Show the wrong value, unless it could be a secret or is too long to help."""
    if path.endswith(_SECRETS):
        return ""
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f", not {shown}" if len(shown) <= 60 else ""


def check(whole: Mapping[str, Any], release: Release, problems: Problems,
          locate: Locate = as_named) -> None:
    """Find what is wrong between the keys of a completed mapping."""
    taken: list[tuple[str, int, str]] = []
    for listener_type, name, listener in listeners_of(whole):
        path = f"listeners.{listener_type}.{name}"
        # EMQX checks the keys of a listener that is switched off too.
        _check_access_rules(f"{path}.access_rules", listener.get("access_rules", []), release,
                            problems)
        options = listener.get("ssl_options", {})
        _check_ssl(f"{path}.ssl_options", options, release, problems)
        if not is_enabled(listener):
            continue
        address, port = kinds.split_bind(
            listener.get("bind", schema.EMQX_DEFAULT_PORT[listener_type]))
        for other_address, other_port, other_path in taken:
            if port == other_port and _overlap(address, other_address):
                problems.error(f"{path}.bind", f"port {port} is already taken by "
                                               f"{other_path}: EMQX does not boot")
        taken.append((address, port, path))
        serving.check_listener(path, listener, release, problems)
        if listener_type in schema.TLS_TYPES:
            serving.check_tls(f"{path}.ssl_options", options, release, problems)
            check_files(f"{path}.ssl_options", options, release, problems, locate)
    for listener_type in schema.LISTENER_TYPES:
        if "default" not in whole.get(listener_type, {}):
            problems.warn(f"listeners.{listener_type}.default",
                          f"is removed, so EMQX opens its own on port "
                          f"{schema.EMQX_DEFAULT_PORT[listener_type]}; set enable: false to "
                          f"switch it off")


def listeners_of(whole: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (type, name, keys) of every listener, in a fixed order."""
    for listener_type in schema.LISTENER_TYPES:
        for name, listener in sorted(whole.get(listener_type, {}).items()):
            yield listener_type, name, listener


def _overlap(one: str, other: str) -> bool:
    if one == other or "::" in (one, other):
        return True
    # :: is IPv4, too; 0.0.0.0 and no address are IPv4 only.
    everywhere = {"", "0.0.0.0"}  # noqa: S104 - compared, not bound
    return ((one in everywhere and ":" not in other)
            or (other in everywhere and ":" not in one))


def _check_access_rules(path: str, strings: list[str], release: Release,
                        problems: Problems) -> None:
    for written in strings:
        rules = list(grammar.access_rules(written))
        for rule in rules:
            if not grammar.is_access_rule(rule):
                problems.error(path, f'"{rule}" is not "allow" or "deny" with an address, a '
                                     f'network or "all"; EMQX does not boot with it')
        if len(rules) > 1 and not separates_access_rules(release):
            problems.error(path, f'"{written}" has several rules, with which EMQX {release} does '
                                 f"not boot: make each an item of the list")


def _check_ssl(path: str, options: Mapping[str, Any], release: Release,
               problems: Problems) -> None:
    """Check what stops a node from booting, and what must not be written."""
    _check_versions(f"{path}.versions", options.get("versions", []), problems)
    for cipher in options.get("ciphers", []):
        if cipher not in CIPHERS:
            problems.error(f"{path}.ciphers",
                           f'unknown cipher suite "{cipher}"{cipher_hint(cipher)}')
    for key in ("fail_if_no_peer_cert", "enable_crl_check"):
        if options.get(key) and options.get("verify") != "verify_peer":
            problems.error(f"{path}.{key}",
                           "needs verify: verify_peer; EMQX does not boot with verify_none")
    ocsp = options.get("ocsp", {})
    if ocsp.get("enable_ocsp_stapling"):
        for needed in ("responder_url", "issuer_pem"):
            if needed not in ocsp:
                problems.error(f"{path}.ocsp.{needed}", "is missing; OCSP stapling needs it")
    password = options.get("password", "")
    if password and not password.startswith("file://"):
        instead = ("put it into a file and give file:///its/path" if reads_password_files(release)
                   else f"use a key without a passphrase (EMQX {release} reads none from a file)")
        problems.error(f"{path}.password",
                       f"would stand in clear text in listeners.hocon: {instead}")
    if ignores_reuse_sessions(release) and options.get("reuse_sessions") is False:
        problems.warn(f"{path}.reuse_sessions", f"EMQX {release} ignores false and reuses "
                                                f"sessions all the same (emqx/emqx#16456)")


def _check_versions(path: str, versions: list[str], problems: Problems) -> None:
    for version in versions:
        if version not in schema.TLS_VERSIONS:
            problems.error(path, f'unknown TLS version "{version}" (EMQX has '
                                 f"{', '.join(schema.TLS_VERSIONS)})"
                                 f"{did_you_mean(version, schema.TLS_VERSIONS)}")
    if "tlsv1.3" in versions and len(versions) > 1 and "tlsv1.2" not in versions:
        problems.error(path, "EMQX refuses tlsv1.3 with an older version but without tlsv1.2")


@dataclass(frozen=True)
class CheckedNodes:
    """All nodes' completed listeners; every sentence once, however many nodes share it."""

    listeners: dict[str, dict[str, Any]]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check_nodes(nodes: Iterable[ConfiguredNode], release: Release,
                locate: Callable[[str], Locate] = lambda _: as_named) -> CheckedNodes:
    """Check every node and name the nodes only where they differ.

    ``locate`` says of a node, by its name, where the files are that it names.
    """
    results = {node.name: check_node(node, release, locate(node.name)) for node in nodes}
    return CheckedNodes(
        listeners={name: result.listeners for name, result in results.items()},
        errors=_shared({name: result.errors for name, result in results.items()}),
        warnings=_shared({name: result.warnings for name, result in results.items()}))


def unresumed(listeners: Mapping[str, Mapping[str, Any]], release: Release,
              stacks: Mapping[str, str]) -> tuple[str, ...]:
    """Name the listeners on which nobody resumes although they say ``reuse_sessions: true``.

    Args:
        listeners: by node, completed.
        release: the EMQX that they are for.
        stacks: by node, the Erlang/OTP in words; only those that resume nothing with
            ``verify_peer`` unless told to.
    """
    return _shared({node: tuple(
        f"{path}.reuse_sessions: EMQX {release} leaves true out, and {stacks[node]} resumes no "
        "session on a listener with verify: verify_peer unless told to (erlang/otp#11478): each "
        "of its clients makes a full handshake whenever it reconnects"
        for path in _told_nothing(whole, release)) if node in stacks else ()
        for node, whole in listeners.items()})


def _told_nothing(whole: Mapping[str, Any], release: Release) -> Iterator[str]:
    for listener_type, name, listener in listeners_of(whole):
        options = listener.get("ssl_options", {})
        if (listener_type in schema.TLS_TYPES and is_enabled(listener)
                and options.get("verify") == "verify_peer" and options.get("reuse_sessions")
                and options.get("versions") != ["tlsv1.3"]
                and told_to_otp(release, value=True) is None):
            yield f"listeners.{listener_type}.{name}.ssl_options"


def _shared(sentences: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    said_by: dict[str, list[str]] = {}
    for node, own in sentences.items():
        for sentence in dict.fromkeys(own):
            said_by.setdefault(sentence, []).append(node)
    return tuple(sentence if len(nodes) == len(sentences) else f"{sentence} (on {', '.join(nodes)})"
                 for sentence, nodes in said_by.items())
