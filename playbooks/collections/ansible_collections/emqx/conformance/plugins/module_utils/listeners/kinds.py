"""The kinds of value EMQX's listener schema knows.

A kind reads what a YAML inventory (or ``-e``) gives and returns what goes into the file, or
raises :class:`WrongValueError` with the words that finish the sentence "<path> must be …".
"""
from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_INTEGER = re.compile(r" *[+-]?[0-9]+ *")
_PORT = re.compile(r"\+?[0-9]+")
_IPV4 = re.compile(r"[0-9A-Fa-fXx.]+")
_OCTAL = re.compile(r"(?:.*\.)?0[0-9].*")
# EMQX's HOCON scanner starts an unquoted key with a letter; a dot in it would nest.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RESERVED = frozenset({"true", "false", "null", "include"})
MAX_PORT = 65535


class WrongValueError(ValueError):
    """The value is not of its key's kind; the text is what it must be instead."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: a name for people and the function that reads it."""

    name: str
    read: Callable[[Any], Any]


def boolean(value: Any) -> bool:
    """Read a boolean; EMQX takes the strings ``true`` and ``false`` too, and no others."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise WrongValueError("true or false")


def integer(low: int | None = None, high: int | None = None) -> Kind:
    """Make the kind of integers within bounds."""
    bounds = ""
    if low is not None:
        bounds = f" of {low} or more" if high is None else f" from {low} to {high}"

    def read(value: Any) -> int:
        text = value if isinstance(value, str) else repr(value)
        if isinstance(value, bool) or not _INTEGER.fullmatch(text):
            raise WrongValueError(f"an integer{bounds}")
        number = int(text)
        if (low is not None and number < low) or (high is not None and number > high):
            raise WrongValueError(f"an integer{bounds}")
        return number

    return Kind("integer", read)


def or_infinity(kind: Kind) -> Kind:
    """Make the kind that also takes ``infinity``."""

    def read(value: Any) -> Any:
        if value == "infinity":
            return value
        try:
            return kind.read(value)
        except WrongValueError as wrong:
            raise WrongValueError(f"{wrong} or infinity") from None

    return Kind(f"{kind.name} or infinity", read)


def one_of(*choices: Any) -> Kind:
    """Make the kind of a fixed set of words."""
    words = ", ".join("true" if choice is True else "false" if choice is False else str(choice)
                      for choice in choices)

    def read(value: Any) -> Any:
        for choice in choices:
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        if value in ("true", "false") and (value == "true") in choices:
            return value == "true"
        raise WrongValueError(f"one of {words}")

    return Kind("word", read)


def text(value: Any) -> str:
    """Read a string, within what EMQX's HOCON scanner can read back."""
    if not isinstance(value, str):
        raise WrongValueError("a string (quote it)")
    # EMQX's scanner has no \\uXXXX and ends a string at U+2028 and U+2029; it knows \\t.
    if any((ord(char) < 0x20 and char != "\t") or 0x7f <= ord(char) < 0xa0
           or char in "\u2028\u2029" for char in value):
        raise WrongValueError("a string without line breaks and control characters")
    return str(value)


def filled_text(value: Any) -> str:
    """Read a string that says something."""
    result = text(value)
    if not result:
        raise WrongValueError("a string that is not empty")
    return result


def refuse_content(value: Any) -> None:
    """Raise WrongValueError where a file's content stands for its path."""
    if isinstance(value, str) and "-----BEGIN " in value:
        raise WrongValueError("the path of a file, and not the PEM text that is in it")


def path(value: Any) -> str:
    """Read the path of a file."""
    refuse_content(value)
    return filled_text(value)


def is_name(value: Any) -> bool:
    """Tell whether this can be a name in HOCON without quotes: a listener's, or a key's."""
    return isinstance(value, str) and bool(_NAME.fullmatch(value)) and value not in _RESERVED


def ip_address(written: str) -> Address:
    """Return an address as Erlang reads it: ``127.1`` and ``0177.0.0.1`` are ``127.0.0.1``.

    Raises:
        ValueError: it is none.
    """
    if ":" not in written and _IPV4.fullmatch(written):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(written))
        except OSError:
            raise ValueError(f"{written} is no address") from None
    if "%" in written:
        raise ValueError(f"{written} has a zone index")
    return ipaddress.ip_address(written)


def split_bind(value: Any) -> tuple[str, int]:
    """Return address ('' for all) and port of a ``bind`` as EMQX reads it."""
    wrong = WrongValueError("a port or address:port such as 8883, 127.0.0.1:8883 or [::1]:8883")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise wrong
    address, _, port = str(value).replace(" ", "").rpartition(":")
    if not _PORT.fullmatch(port) or int(port) > MAX_PORT:
        raise wrong
    if int(port) == 0:
        raise WrongValueError(f"a port from 1 to {MAX_PORT} (EMQX boots with 0, but listens at a "
                              "port that no client knows)")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not address:
        return "", int(port)
    try:
        parsed = ip_address(address)
    except ValueError:
        raise wrong from None
    return _bindable(address, parsed), int(port)


def _bindable(written: str, address: Address) -> str:
    if address.version == 4 and _OCTAL.fullmatch(written):
        raise WrongValueError(f"an address without leading zeros (EMQX reads {written} as "
                              f"{address}, and does not boot where that is another machine's)")
    if address.version == 6 and address.is_link_local:
        raise WrongValueError("an address that is not link-local (EMQX does not boot with it: such "
                              "an address needs an interface, and a bind has none)")
    return str(address)


def bind(value: Any) -> Any:
    """Read a ``bind``; EMQX takes a bare port or an IP address with one, never a host name."""
    split_bind(value)
    return value if isinstance(value, int) else str(value)


def anything(value: Any) -> Any:
    """Pass through a value whose schema is not known here, as far as it can be rendered."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, (list, tuple)):
        return [anything(item) for item in value]
    if isinstance(value, dict):
        if not all(is_name(key) for key in value):
            raise WrongValueError("a mapping whose keys begin with a letter and have letters, "
                                  "digits, _ and - only")
        return {key: anything(item) for key, item in value.items()}
    raise WrongValueError("a string, an integer, true, false, a list or a mapping")


def list_of(kind: Kind, *, comma_separated: bool = False) -> Kind:
    """Make the kind of lists; EMQX also splits some strings at commas and spaces."""

    def read(value: Any) -> list[Any]:
        if comma_separated and isinstance(value, str):
            value = [item for item in re.split("[, ]", value) if item]
        if not isinstance(value, (list, tuple)):
            raise WrongValueError("a list")
        try:
            return [kind.read(item) for item in value]
        except WrongValueError as wrong:
            raise WrongValueError(f"a list whose every item is {wrong}") from None

    return Kind(f"list of {kind.name}", read)


BOOLEAN = Kind("boolean", boolean)
TEXT = Kind("string", text)
FILLED_TEXT = Kind("string", filled_text)
BIND = Kind("bind", bind)
PATH = Kind("path", path)
PASSPHRASE = Kind("string", text)
"""A passphrase, or the path of its file behind :data:`IN_FILE`."""
IN_FILE = "file://"
ANYTHING = Kind("anything", anything)
