"""What a single connection showed, as text for a terminal."""
from __future__ import annotations

from typing import Any

from .archive import FILE
from .columns import Line, block

_ID_SHOWN = 16
"""Hexadecimal digits of a session ID that are enough to tell it from others."""
_ARROWS = {"client": "->", "server": "<-"}


class Evidence:
    """The handshakes of a result."""

    def __init__(self, results: dict[str, Any]) -> None:
        """Remember who issued which session."""
        self._handshakes: dict[str, dict[str, Any]] = results.get("handshakes", {})
        self._issued_in: dict[str, str] = {}
        for key, handshake in self._handshakes.items():
            if handshake["outcome"] == "full" and handshake["server_id"]:
                self._issued_in.setdefault(handshake["server_id"], key)

    def shown(self, key: str, width: int, *, ladder: bool) -> list[Line]:
        """Return a handshake in a few lines, with each of its messages if ``ladder``."""
        handshake = self._handshakes.get(key)
        if handshake is None:
            return block(f"         {key}  ", f"is in {FILE} only", width)
        lines = block(f"         {key}  ", self._told(handshake), width)
        return lines + (_ladder(handshake) if ladder else [])

    def _told(self, handshake: dict[str, Any]) -> str:
        took = handshake["handshake_ms"]
        told = [f"{handshake['endpoint']}: {handshake['outcome']}"
                + (f" in {took:.2f} ms" if took is not None else "")
                + f", {handshake['bytes_in']} bytes in, {handshake['bytes_out']} out"]
        if handshake["version"]:
            told[0] += f", {handshake['version']} {handshake['cipher'] or ''}".rstrip()
        offered, answered = handshake["offered_id"], handshake["server_id"]
        if offered:
            made = self._issued_in.get(offered)
            told.append(f"offered {offered[:_ID_SHOWN]}{f' (of {made})' if made else ''}, answered "
                        f"{'the same' if answered == offered else _id(answered)}")
        elif answered:
            told.append(f"offered no ID, answered {_id(answered)}")
        if witnesses := _witnesses(handshake["witnesses"]):
            told.append(witnesses)
        if handshake["outcome"] not in ("resumed", "full"):
            told.append(handshake["why"])
        told += [f"fatal alert {alert['description']} raised by "
                 f"{'the target' if alert['raised_by'] == 'target' else 'us'}"
                 for alert in handshake["alerts"] if alert["level"] == "fatal"
                 and alert["description"] not in handshake["why"]]
        if mqtt := handshake["mqtt"]:
            took = mqtt["connack_ms"]
            told.append(f"MQTT {mqtt['version']}: {mqtt['detail']}"
                        + (f" in {took:.2f} ms" if took is not None else ""))
        return "; ".join(told)


def _id(value: str) -> str:
    return value[:_ID_SHOWN] or "no ID"


def _witnesses(seen: dict[str, bool | None]) -> str:
    words = {"library_reused": ("library", "resumed", "full"),
             "wire_abbreviated": ("wire", "resumed", "full"),
             "same_master_secret": ("master secret", "the same", "another")}
    return ", ".join(f"{what} {yes if seen[key] else no}"
                     for key, (what, yes, no) in words.items() if seen[key] is not None)


def _ladder(handshake: dict[str, Any]) -> list[Line]:
    """Return who sent what and when, in milliseconds since the connection stood; -> is ours."""
    return [Line(f"         {message['at_ms']:>12.3f} ms  {_ARROWS[message['from']]}  "
                 f"{message['message']:<20}{message['bytes']:>7} B")
            for message in handshake["messages"]]
