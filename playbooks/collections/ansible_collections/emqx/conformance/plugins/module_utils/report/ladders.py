"""Handshakes in the few bytes that index.html needs to draw their ladders.

A handshake in results.json takes 1.5 kB, here some 150 bytes: strings and whole flights of messages
stand once in a table, and rows refer to them by number. ``templates/report.js`` reads it.
"""
from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_COLUMNS = ("key", "endpoint", "address", "started", "outcome", "why", "offered", "answered",
            "version", "cipher", "library", "wire", "secret", "flight", "times", "connect",
            "handshake", "bytesIn", "bytesOut", "mqtt", "connack", "notes", "maker")
"""What a row holds, in this order: numbers of strings, of a flight, of handshakes (0: none), times
in µs (``started`` in ms since the run began; -1: not measured), bytes."""
_LIBRARY = {None: "", True: "the session was reused", False: "a new session"}
_WIRE = {None: "", True: "abbreviated, the offered ID is echoed", False: "not abbreviated"}
_SECRET = {None: "", True: "the offered session's", False: "a new one"}
_SIDES = {"target": "server", "client": "client"}


def makers(handshakes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return by handshake the full handshake that had made the session it offered, if it is known.

    Where a target issues one ID again and again, it is the last one before.
    """
    issued: dict[str, str] = {}
    made: dict[str, str] = {}
    for key, handshake in handshakes.items():
        if maker := issued.get(handshake["offered_id"]):
            made[key] = maker
        if handshake["outcome"] == "full" and handshake["server_id"]:
            issued[handshake["server_id"]] = key
    return made


def compact(results: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """Return the wanted handshakes and those that made their sessions.

    Args:
        results: a result object.
        wanted: keys of its handshakes; one that it does not hold is left out.
    """
    handshakes = results["handshakes"]
    made = makers(handshakes)
    keys = {key for key in wanted if key in handshakes}
    keys |= {made[key] for key in keys if key in made}
    tables = _Tables(_time(results["started_at"]))
    rows = [tables.row(key, handshakes[key], made.get(key)) for key in sorted(keys, key=_number)]
    return {"columns": _COLUMNS, "strings": list(tables.strings),
            "flights": list(tables.flights), "handshakes": rows,
            "cells": _cells(results, keys), "reasons": _reasons(results)}


def embedded(data: Any) -> str:
    """Return JSON for the inside of a ``<script>``: nothing in it can end that or begin another."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def named_messages(handshake: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return (sender, name, bytes) of each message; an alert's name says which, where it is clear.

    It is where the alerts are those of the messages, one by one: the library tells of some that the
    wire does not show.
    """
    alerts = iter(handshake["alerts"])
    messages = handshake["messages"]
    told = [_SIDES[alert["raised_by"]] for alert in handshake["alerts"]]
    clear = told == [message["from"] for message in messages if message["message"] == "Alert"]
    return [(message["from"], _alert(next(alerts)) if clear and message["message"] == "Alert"
             else message["message"], message["bytes"]) for message in messages]


def _alert(alert: Mapping[str, str]) -> str:
    return f"Alert {alert['level']} {alert['description']}"


class _Tables:
    """What rows refer to, by value its number."""

    def __init__(self, begun: datetime.datetime) -> None:
        self.strings: dict[str, int] = {}
        self.flights: dict[tuple[int, ...], int] = {}
        self._begun = begun

    def row(self, key: str, handshake: Mapping[str, Any], maker: str | None) -> list[Any]:
        """Return a handshake's row."""
        text = self._text
        flight: list[int] = []
        for sender, name, length in named_messages(handshake):
            flight += (int(sender == "server"), text(name), length)
        times = [_microseconds(message["at_ms"]) for message in handshake["messages"]]
        witnesses, mqtt = handshake["witnesses"], handshake["mqtt"]
        started = _time(handshake["started_at"]) - self._begun
        return [
            _number(key), text(handshake["endpoint"]), text(_address(handshake)),
            round(started / datetime.timedelta(milliseconds=1)), text(handshake["outcome"]),
            text(handshake["why"]), text(handshake["offered_id"]), text(handshake["server_id"]),
            text(handshake["version"]), text(handshake["cipher"]),
            text(_LIBRARY[witnesses["library_reused"]]), text(_WIRE[witnesses["wire_abbreviated"]]),
            text(_SECRET[witnesses["same_master_secret"]]),
            self.flights.setdefault(tuple(flight), len(self.flights)), _steps(times),
            _microseconds(handshake["connect_ms"]), _microseconds(handshake["handshake_ms"]),
            handshake["bytes_in"], handshake["bytes_out"],
            text(f"MQTT {mqtt['version']}: {mqtt['detail']}" if mqtt else ""),
            _microseconds(mqtt["connack_ms"] if mqtt else None),
            [text(note) for note in _notes(handshake)], _number(maker) if maker else 0]

    def _text(self, value: str | None) -> int:
        return self.strings.setdefault(value or "", len(self.strings))


def _notes(handshake: Mapping[str, Any]) -> Iterable[str]:
    """Say what is not as in most handshakes. Older results lack some of it."""
    for alert in handshake["alerts"]:
        yield (f"{'the target' if alert['raised_by'] == 'target' else 'our own side'} raised the "
               f"{alert['level']} alert {alert['description']}")
    if failure := handshake["failure"]:
        yield f"it ended in {failure['stage']}: {failure['detail']} ({failure['cause']})"
    if (ticket := handshake.get("ticket_offered")) is not None:
        yield f"a session ticket of {ticket} bytes was offered"
    if handshake.get("ticket_issued"):
        yield "a session ticket was issued"
    if handshake.get("extended_master_secret"):
        yield "the extended master secret was negotiated"
    if handshake["sni_acknowledged"]:
        yield f"the server name {handshake['server_name']} was acknowledged"
    if compression := handshake.get("compression"):
        yield f"compression method {compression} was chosen"
    if handshake.get("crowded"):
        yield "one of many at the same moment, so its times say nothing"


def _cells(results: Mapping[str, Any], keys: set[str]) -> list[int]:
    """Return the handshake of each cell of the matrix, row by row; 0: there is none."""
    names = [node["name"] for node in results["nodes"]]
    told = {(cell["issuer"], cell["redeemer"]): cell["evidence"].get("handshake", "")
            for cell in results["matrix"]}
    return [_number(key) if (key := told.get((issuer, redeemer), "")) in keys else 0
            for issuer in names for redeemer in names]


def _reasons(results: Mapping[str, Any]) -> dict[str, str]:
    """Return why a cell is not as expected, or not there, by its number."""
    places = {node["name"]: place for place, node in enumerate(results["nodes"])}
    expected = {"resumed": "a resumed handshake", "full": "a full handshake"}
    return {str(places[cell["issuer"]] * len(places) + places[cell["redeemer"]]):
            f"{expected[cell['expected']]} was expected ({cell['reason']})"
            for cell in results["matrix"] if cell["reason"]}


def _address(handshake: Mapping[str, Any]) -> str:
    address, port = handshake["address"], handshake.get("port")
    if address is None:
        return ""
    return f"{address} port {port}" if port else str(address)


def _steps(times: Sequence[int]) -> list[int]:
    """Return how much later than the one before each is."""
    return [time - before for before, time in zip((0, *times), times)]


def _microseconds(milliseconds: float | None) -> int:
    return -1 if milliseconds is None else round(milliseconds * 1000)


def _number(key: str) -> int:
    return int(key[1:])


def _time(text: str) -> datetime.datetime:
    # Python 3.9 and 3.10 do not read the Z.
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
