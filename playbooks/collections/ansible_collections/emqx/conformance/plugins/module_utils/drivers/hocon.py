"""Reading HOCON with pyhocon, without its traps.

pyhocon logs a missing include and goes on, fetches URLs, keeps the quotes of quoted keys,
turns an unquoted ``15s`` into a timedelta and leaves ``\\uXXXX`` as it is. Here each is an
error or mended.
"""
from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


class HoconError(Exception):
    """The file cannot be read; the sentence names it."""


# Strings and comments may hold anything; what is left are words and punctuation.
_TOKEN = re.compile(r'""".*?"""|"(?:[^"\\\n]|\\.)*"|(?:\#|//)[^\n]*|\n|[{},]|[\w.-]+|\S', re.DOTALL)
_FILE = re.compile(r'\s*(?:required\(\s*)?(?:file\(\s*)?"([^"*?]+)"')
# What pyhocon leaves of an escape sequence it does not know.
_LEFT_OVER = re.compile(r"\\[ubf/]")


def read(path: Path) -> dict[str, Any]:
    """Return the file's content as plain dicts, lists, strings, numbers and booleans.

    Durations that HOCON lets stand without quotes come as integers, in milliseconds.

    Raises:
        HoconError: pyhocon is missing, or the file or one it includes cannot be read.
    """
    def parsed(factory: Any) -> Any:
        _check_includes(path, ())
        return factory.parse_file(str(path))

    tree = _guarded(str(path), parsed)
    if not isinstance(tree, Mapping):
        raise HoconError(f"{path} must hold an object, not a list")
    return {key: value for key, value in _plain(tree, str(path)).items() if value is not None}


def read_value(text: str) -> Any:
    """Return one value, written as it could stand behind ``key =``.

    Raises:
        HoconError: pyhocon is missing, or this is not one value.
    """
    tree = _guarded("the value", lambda factory: factory.parse_string(f"value = {text}"))
    # A line break could begin another key.
    if not isinstance(tree, Mapping) or list(tree) != ["value"]:
        raise HoconError("the value is not HOCON: it is more than one")
    return _plain(tree, "the value")["value"]


def _guarded(where: str, parse: Callable[[Any], Any]) -> Any:
    """Return what ``parse`` makes with pyhocon's ``ConfigFactory``."""
    try:
        # They take a quarter of what a module takes to begin, and few runs read HOCON.
        from pyhocon import ConfigFactory  # noqa: PLC0415
        from pyhocon.exceptions import ConfigException  # noqa: PLC0415
        from pyparsing import ParseBaseException  # noqa: PLC0415
    except ImportError:
        raise HoconError("the Python library pyhocon is missing; requirements.txt names it",
                         ) from None
    logger = logging.getLogger("pyhocon.config_parser")
    # Whatever it would say is said here, in one sentence.
    logger.disabled = True
    try:
        return parse(ConfigFactory)
    except OSError as error:
        raise HoconError(f"{where}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise HoconError(f"{where} is not UTF-8") from None
    except (ConfigException, ParseBaseException) as error:
        reason = " ".join(str(error).split())
        raise HoconError(f"{where} is not HOCON: {reason}") from None
    except RecursionError:
        raise HoconError(f"{where} is nested too deeply") from None
    finally:
        logger.disabled = False


def _check_includes(path: Path, includers: tuple[Path, ...]) -> None:
    if path in includers:
        raise HoconError(f"{path} includes itself")
    text = path.read_text(encoding="utf-8")
    for rest in _after_includes(text):
        match = _FILE.match(rest)
        if match is None or "://" in match.group(1):
            raise HoconError(f"{path}: only files can be included, by their name in double "
                             f"quotes, not {rest.splitlines()[0].strip() if rest else 'nothing'}")
        included = path.parent / match.group(1)
        if not included.is_file():
            raise HoconError(f"{path} includes {included}, which does not exist")
        _check_includes(included, (*includers, path))


def _after_includes(text: str) -> Iterator[str]:
    """Yield what follows each ``include`` that stands where a key could stand."""
    key_may_follow = True
    for token in _TOKEN.finditer(text):
        word = token.group()
        if key_may_follow and word.lower() == "include":
            yield text[token.end():]
        if not word.startswith(("#", "//")):
            key_may_follow = word in ("\n", "{", "}", ",")


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            name = _key(key, where)
            plain[name] = _plain(item, f"{where}: {name}")
        return plain
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, str):
        if _LEFT_OVER.search(value):
            raise HoconError(f"{where}: write the character itself instead of an escape sequence "
                             f"in {value}")
        return str(value)
    if isinstance(value, datetime.timedelta):
        return round(value / datetime.timedelta(milliseconds=1))
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise HoconError(f"{where}: put the value {value} in double quotes")


def _key(key: str, where: str) -> str:
    name = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise HoconError(f'{where}: the name "{name}" may have letters, digits, "_" and "-" only')
    return name
