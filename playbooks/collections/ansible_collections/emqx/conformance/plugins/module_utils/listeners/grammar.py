"""How EMQX writes durations, sizes, rates and the like: one place for each.

Read from EMQX's schema, and tried with three releases (``tests/data/emqx_accepts.jsonl``).
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from . import kinds
from .kinds import Kind, WrongValueError

_NUMBER = r"(?:[0-9]*\.)?[0-9]+"
_UNIT = r"ms|MS|[fwdhmsFWDHMS]"
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000,
             "w": 604_800_000, "f": 1_209_600_000}
_DURATION = re.compile(rf"(?:{_NUMBER}(?:{_UNIT}))+|[0-9]+")
_DURATION_PART = re.compile(rf"({_NUMBER})({_UNIT})")
_RATE = re.compile(r" *([0-9]+)([A-Za-z]*)(?:/([0-9]*)(ms|MS|[smhdSMHD]))? *")
_POSITIVE = re.compile(r"\+?[0-9]+")
_BEGINNING = re.compile(r"([0-9]+)(kb|mb|gb|)", re.IGNORECASE)
# Both become atoms, which have 255 characters at most.
_LOOKUP = re.compile(r"[: ]*[^: ]{1,255}[: ]+[^: ]{1,255}[: ]*")
_ZONE = re.compile(".{1,255}")
# RFC 3986, section 2: what stands in a URI without being percent-encoded.
_URL = re.compile(r"https?://(?![/?#])[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.IGNORECASE)
_KEEPALIVE = ((1, 72_000), (1, 750), (1, 90))
"""Bounds of idle time and interval (seconds) and of the number of probes."""


def milliseconds(duration: int | str) -> int:
    """Return a duration of EMQX (``15s``, ``1h30m``, ``500ms``, ``1500``) in milliseconds.

    Raises:
        ValueError: it is none.
    """
    written = str(duration)
    if not _DURATION.fullmatch(written):
        raise ValueError(f"{duration} is not a duration such as 15s or 1h30m")
    if written.isdigit():
        return int(written)
    # As Erlang rounds: a half goes up.
    return int(sum(float(number) * _UNITS_MS[unit.lower()]
                   for number, unit in _DURATION_PART.findall(written)) + 0.5)


def _duration(value: Any) -> int | str:
    if isinstance(value, (int, str)) and not isinstance(value, bool) \
            and _DURATION.fullmatch(str(value)):
        return value
    raise WrongValueError("a duration such as 15s, 500ms or 1h30m")


def _size(units: str) -> Kind:
    """Make the kind of sizes with these units (a regular expression)."""
    written = re.compile(rf"[0-9]+(?:{units})|-?[0-9]+")

    def read(value: Any) -> int | str:
        if isinstance(value, (int, str)) and not isinstance(value, bool) \
                and written.fullmatch(str(value)):
            return value
        raise WrongValueError("a size such as 4096, 4KB or 1MB")

    return Kind("size", read)


def _rate(*units: str, zero: bool = False) -> Kind:
    """Make the kind of rates with these units, which EMQX spells in either case."""

    def read(value: Any) -> int | str:
        match = _RATE.fullmatch(str(value)) if not isinstance(value, (bool, float)) else None
        if match:
            quota, unit, count, per = match.groups()
            interval = milliseconds(f"{count or 1}{per}") if per else 1
            if unit.lower() in ("", *units):
                if not zero and not (int(quota) and interval):
                    raise WrongValueError("a rate of more than 0 in more than no time")
                return value if isinstance(value, int) else str(value)
        raise WrongValueError("a rate such as 1000/s or 1MB/10s")

    return Kind("rate", read)


def quota(rate: int | str) -> int:
    """Return the number that a rate begins with; 0 for ``infinity``."""
    match = re.match(" *([0-9]+)", str(rate))
    return int(match[1]) if match else 0


def _matching(pattern: re.Pattern[str], words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        result = kinds.text(value)
        if not pattern.fullmatch(result):
            raise WrongValueError(words)
        return result

    return read


def _initial(value: Any) -> int | str:
    if isinstance(value, (int, str)) and not isinstance(value, bool) \
            and _BEGINNING.fullmatch(str(value)):
        return value
    raise WrongValueError("a number such as 100 or 1MB")


def _keepalive(value: Any) -> str:
    result = kinds.text(value)
    numbers = [word for word in re.split("[, ]", result) if word]
    if result != "none" and not (
            len(numbers) == len(_KEEPALIVE)
            and all(_POSITIVE.fullmatch(number) and low <= int(number) <= high
                    for number, (low, high) in zip(numbers, _KEEPALIVE))):
        raise WrongValueError("none or three positive integers such as 240,30,5 (idle seconds up "
                              "to 72000, interval up to 750, probes up to 90)")
    return result


def _mqtt_path(value: Any) -> str:
    result = kinds.text(value)
    if not result.startswith("/"):
        raise WrongValueError("a path that begins with / (EMQX does not boot with another)")
    return result


def _authentication(value: Any) -> Any:
    authenticators = [value] if isinstance(value, dict) else value
    if not isinstance(authenticators, (list, tuple)) or not all(
            isinstance(one, dict) and "mechanism" in one for one in authenticators):
        raise WrongValueError("a list of authenticators, each with its mechanism")
    return kinds.anything(value)


def access_rules(written: str) -> Iterator[str]:
    """Yield the rules in one string, which commas separate."""
    for rule in written.split(","):
        yield rule.strip()


def is_access_rule(rule: str) -> bool:
    """Tell whether this is ``allow`` or ``deny`` with an address, a network or ``all``."""
    words = [word for word in rule.split(" ") if word]
    return len(words) == 2 and words[0] in ("allow", "deny") and (
        words[1] == "all" or _is_network(words[1]))


def _is_network(written: str) -> bool:
    address, *length = [part for part in written.split("/") if part] or [""]
    try:
        bits = kinds.ip_address(address).max_prefixlen
    except ValueError:
        return False
    return len(length) < 2 and all(_POSITIVE.fullmatch(bit) and int(bit) <= bits for bit in length)


DURATION = Kind("duration", _duration)
SIZE_WITHOUT_B = _size("kb|KB|mb|MB|gb|GB")
SIZE = _size("b|B|kb|KB|mb|MB|gb|GB")
RATE_WITHOUT_B = _rate("kb", "mb", "gb")
RATE = _rate("b", "kb", "mb", "gb")
BURST_WITHOUT_B = _rate("kb", "mb", "gb", zero=True)
BURST = _rate("b", "kb", "mb", "gb", zero=True)
INITIAL = Kind("number", _initial)
KEEPALIVE = Kind("keep-alive", _keepalive)
MQTT_PATH = Kind("path", _mqtt_path)
AUTHENTICATION = Kind("list of authenticators", _authentication)
ZONE = Kind("zone", _matching(_ZONE, "a name of 1 to 255 characters"))
LOOKUP_FUNCTION = Kind("function", _matching(
    _LOOKUP, "a function as module:function, such as emqx_tls_psk:lookup"))
URL = Kind("URL", _matching(_URL, "a URL such as http://ocsp.example.com/, without spaces"))
