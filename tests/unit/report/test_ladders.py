"""Handshakes in few bytes: nothing is lost of what a ladder shows."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import ladders

from tests.support.result_objects import handshake, run

FATAL = {"raised_by": "target", "level": "fatal", "description": "decode_error"}


def unpacked(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read it as templates/report.js does."""
    data = json.loads(ladders.embedded(data))
    read = {}
    for row in data["handshakes"]:
        one = dict(zip(data["columns"], row))
        flight = data["flights"][one["flight"]]
        at, messages = 0, []
        for place, step in enumerate(one["times"]):
            at += step
            sender, name, size = flight[3 * place:3 * place + 3]
            messages.append({"from": "server" if sender else "client", "bytes": size,
                             "message": data["strings"][name], "at_ms": at / 1000})
        one.update(messages=messages, **{name: data["strings"][one[name]] for name in (
            "endpoint", "address", "outcome", "why", "offered", "answered", "version", "cipher",
            "library", "wire", "secret", "mqtt")})
        one["notes"] = [data["strings"][note] for note in one["notes"]]
        read[f"h{one['key']:05d}"] = one
    return read


def test_what_is_read_is_what_was_written() -> None:
    results = run(2)
    got = unpacked(ladders.compact(results, results["handshakes"]))
    assert list(got) == list(results["handshakes"])
    for key, whole in results["handshakes"].items():
        assert got[key]["messages"] == whole["messages"]
        assert (got[key]["endpoint"], got[key]["outcome"], got[key]["why"], got[key]["offered"],
                got[key]["answered"], got[key]["cipher"], got[key]["bytesIn"]) == tuple(
            whole[name] for name in ("endpoint", "outcome", "why", "offered_id", "server_id",
                                     "cipher", "bytes_in"))
        assert got[key]["handshake"] == whole["handshake_ms"] * 1000
        assert got[key]["address"] == f"127.0.0.1 port {whole['port']}"


def test_who_had_made_a_session_comes_with_who_offers_it() -> None:
    results = run(2)
    [elsewhere] = [cell["evidence"]["handshake"] for cell in results["matrix"]
                   if (cell["issuer"], cell["redeemer"]) == ("n1", "n2")]
    got = unpacked(ladders.compact(results, [elsewhere, "h09999"]))
    assert list(got) == ["h00001", elsewhere]
    assert (got[elsewhere]["maker"], got["h00001"]["endpoint"]) == (1, "n1")


def test_of_one_id_issued_again_the_last_before_counts() -> None:
    rows = {"h00001": handshake("n1", "full", answered="aa"),
            "h00002": handshake("n1", "resumed", offered="aa", answered="aa"),
            "h00003": handshake("n1", "full", answered="aa"),
            "h00004": handshake("n1", "resumed", offered="aa", answered="aa"),
            "h00005": handshake("n1", "full", offered="bb", answered="cc")}
    assert ladders.makers(rows) == {"h00002": "h00001", "h00004": "h00003"}


def test_cells_point_to_handshakes_and_say_why_not() -> None:
    results = run(2, lambda *pair: pair == ("n1", "n2"))
    results["matrix"][2].update(outcome="not_measured", passed=False, reason="not_sampled",
                                evidence={})
    data = ladders.compact(results, [cell["evidence"].get("handshake", "")
                                     for cell in results["matrix"]])
    assert data["cells"] == [3, 4, 0, 6]
    assert data["reasons"] == {"1": "a full handshake was expected (resumed_elsewhere)",
                               "2": "a full handshake was expected (not_sampled)"}


@pytest.mark.parametrize(("alerts", "carried", "named"), [
    ([FATAL], 1, "Alert fatal decode_error"), ([FATAL], 2, "Alert"), ([], 1, "Alert")])
def test_an_alert_is_named_where_it_is_clear_which(
        alerts: list[dict[str, str]], carried: int, named: str) -> None:
    message = {"from": "server", "message": "Alert", "bytes": 2, "at_ms": 1.0}
    one = handshake("n1", "refused", alerts=alerts)
    one["messages"] += [message] * carried
    assert [name for _, name, _ in ladders.named_messages(one)] == [
        "ClientHello", *[named] * carried]


def test_what_is_out_of_the_ordinary_is_told() -> None:
    results = run(1)
    results["handshakes"]["h00001"].update(
        alerts=[FATAL], ticket_offered=0, extended_master_secret=True, crowded=True, mqtt=None,
        handshake_ms=None, failure={"stage": "handshake", "cause": "refused", "detail": "alert"})
    one = unpacked(ladders.compact(results, ["h00001"]))["h00001"]
    assert one["notes"] == [
        "the target raised the fatal alert decode_error",
        "it ended in handshake: alert (refused)", "a session ticket of 0 bytes was offered",
        "the extended master secret was negotiated",
        "one of many at the same moment, so its times say nothing"]
    assert (one["handshake"], one["connack"], one["mqtt"]) == (-1, -1, "")


def test_nothing_in_it_ends_the_script_it_stands_in() -> None:
    said = "</script><!--<script>&\u2028\ud800"
    text = ladders.embedded([said])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == [said]


def test_a_handshake_takes_a_fifth_of_its_size_at_most() -> None:
    results = run(12)
    whole = len(json.dumps(results["handshakes"]))
    assert len(ladders.embedded(ladders.compact(results, results["handshakes"]))) < whole / 5
