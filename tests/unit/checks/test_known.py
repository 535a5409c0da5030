"""Known deviations and waivers in whole verifications, and in every form of the report."""
from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.report import junit, terminal
from ansible_collections.emqx.conformance.plugins.module_utils.report.page import Page
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance import judge as tolerance
from ansible_collections.emqx.conformance.plugins.module_utils.words import capital

from tests.faulty_servers.message_server import MessageServer
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

ROOT = Path(__file__).parents[3]
TODAY = datetime.date(2026, 7, 1)
YESTERDAY = TODAY - datetime.timedelta(days=1)
ON_27 = {"n1": {"release": "27", "how": "as emqx_otp_release declares"}}


def entry(check: str, reason: str = "refused", **changed: Any) -> dict[str, Any]:
    return {"check": check, "reason": reason, "otp": {"from": 25, "to": 29},
            "measured": ["25.2.3", "29.1"], "evidence": "Seen on the wire.",
            "upstream": "erlang/otp#1", **changed}


def own(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"file": "own.yml", "content": {"stack": "otp", "deviations": list(entries)}}]


@pytest.fixture(autouse=True)
def _the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell the day, so that none ends between what a test expects and what it sees."""
    monkeypatch.setattr(tolerance, "today_utc", lambda: TODAY)


@pytest.fixture
def faulty(run: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Verify a node that answers an unknown session ID with a fatal alert: NEG-01 and NEG-02."""
    identity = make_identity(tmp_path, "localhost")
    server = MessageServer(identity.certificate, identity.key, "alerts_on_unknown_id")
    yield lambda **changed: run([server.port], ca=str(identity.certificate),
                                checks=["NEG-01", "NEG-02", "NEG-11"], **changed)
    server.stop()


def row(results: dict[str, Any], check: str) -> dict[str, Any]:
    (found,) = [row for row in results["checks"] if row["id"] == check]
    return dict(found)


def shown(results: dict[str, Any], verbosity: int = terminal.SENTENCES) -> dict[str, str]:
    """Return what each form of the report says, line breaks folded away; the terminal after -v."""
    return {
        "terminal": " ".join(" ".join(
            line.text for line in terminal.render(results, "reports/x", 80, verbosity)).split()),
        "junit": " ".join(junit.render(results).decode().split()),
        "page": " ".join(Page(ROOT / "templates/report.html.j2").render(results).decode().split())}


def test_what_the_stack_is_known_to_do_wrong_is_known_and_explained_everywhere(
        faulty: Callable[..., Any]) -> None:
    results = faulty(known_deviations=own(entry("NEG-01")), otp_releases=ON_27)
    known = row(results, "NEG-01")
    assert (known["status"], known["reason"]) == ("known", "refused")
    assert known["evidence"]["known_deviations"] == [{
        "file": "own.yml", "stack": "otp", "check": "NEG-01", "reason": "refused",
        "releases": "Erlang/OTP 25 to 29", "from": 25, "to": 29, "measured": ["25.2.3", "29.1"],
        "evidence": "Seen on the wire.", "upstream": "erlang/otp#1", "intermittent": False}]
    assert row(results, "NEG-02")["status"] == "failed"
    assert results["known_deviations"] == {
        "strict": False, "files": ["own.yml"], "entries": 1, "findings": 1}
    for form, text in shown(results).items():
        assert ("Known deviation of Erlang/OTP 25 to 29 (own.yml): Seen on the wire. Upstream: "
                "erlang/otp#1.") in text, form
    assert "1 known (1 known deviation)" in shown(results)["terminal"]
    assert "1 known (1 known deviation)" in shown(results)["page"]
    in_short = shown(results, verbosity=0)["terminal"]
    assert "Known deviation of Erlang/OTP 25 to 29 (own.yml). " in in_short
    assert "Seen on the wire." not in in_short


def test_how_the_release_was_learnt_is_said(faulty: Callable[..., Any]) -> None:
    results = faulty(otp_releases=ON_27)
    assert results["nodes"][0]["otp_release"] == results["target"]["otp_release"] == "27"
    for told in (results["nodes"][0]["how_identified"], results["target"]["how_identified"]):
        assert told.endswith("; Erlang/OTP 27 as emqx_otp_release declares")


def test_without_a_release_it_failed_and_the_message_says_what_to_declare(
        faulty: Callable[..., Any]) -> None:
    results = faulty(known_deviations=own(entry("NEG-01"), entry("NEG-02")))
    assert results["verdict"] == "failed"
    assert all("declare emqx_otp_release of the host" in row(results, check)["message"]
               for check in ("NEG-01", "NEG-02"))


def test_strict_says_so_everywhere(faulty: Callable[..., Any]) -> None:
    results = faulty(known_deviations=own(entry("NEG-01")), otp_releases=ON_27, strict=True)
    assert row(results, "NEG-01")["status"] == "failed"
    assert results["known_deviations"]["strict"] is True
    for form, text in shown(results).items():
        assert ("nown deviations count as failures, since resumption_strict is true (1 entry of "
                "own.yml)") in text, form


def test_waived_and_known_are_told_apart(faulty: Callable[..., Any]) -> None:
    results = faulty(known_deviations=own(entry("NEG-01")), otp_releases=ON_27, waivers=[
        {"id": "NEG-02", "subject": "n1", "why": "we know", "expires": str(TODAY)}])
    assert results["counts"]["known"] == 2
    assert f"Waived until {TODAY}: we know." in shown(results)["junit"]
    assert "2 known (1 known deviation, 1 waived)" in shown(results)["terminal"]
    cases = ET.fromstring(junit.render(results)).iter("testcase")
    told = {case.get("classname"): skip.get("message") or "" for case in cases
            for skip in case.findall("skipped")}
    assert told["NEG-01"].startswith("known: n1 ")
    assert told["NEG-02"].startswith("known: n1 ")


def test_waivers_that_expired_or_matched_nothing_are_noted_everywhere(
        faulty: Callable[..., Any]) -> None:
    results = faulty(waivers=[
        {"id": "NEG-01", "why": "old", "expires": str(YESTERDAY)},
        {"id": "NEG-11", "why": "needless", "expires": str(TODAY)}])
    assert results["notes"] == [
        f'the waiver of NEG-01 ("old") expired on {YESTERDAY}; it no longer counts',
        'the waiver of NEG-11 ("needless") matched no failure: if that stays so, remove it']
    assert [(waiver["id"], waiver["expired"], waiver["failures"])
            for waiver in results["waivers"]] == [("NEG-01", True, 1), ("NEG-11", False, 0)]
    assert "it no longer counts" in row(results, "NEG-01")["message"]
    for form, text in shown(results).items():
        assert "expired on" in text, form
        assert "matched no failure" in text, form
    root = ET.fromstring(junit.render(results))
    notes = [found.get("value") for found in root.findall(
        "./testsuite[@name='verdict']/properties/property[@name='note']")]
    assert notes == [capital(note) for note in results["notes"]]


def test_a_pass_where_a_deviation_is_known_is_warned_of(
        run: Callable[..., Any], brokers: Callable[..., MqttBroker]) -> None:
    results = run([brokers().port], known_deviations=own(entry("NEG-01")), otp_releases=ON_27)
    assert results["verdict"] == "passed"
    warned = row(results, "NEG-01")
    assert (warned["status"], warned["reason"]) == ("warned", "unexpected_pass")
    assert warned["message"].endswith("remove this entry from own.yml")
    for form, text in shown(results).items():
        assert "remove this entry from own.yml" in text, form
    assert results["notes"] == []


def test_what_a_node_tells_outranks_what_is_declared(
        run: Callable[..., Any], brokers: Callable[..., MqttBroker]) -> None:
    text = b"".join(b"\x26" + len(k).to_bytes(2, "big") + k + len(w).to_bytes(2, "big") + w
                    for k, w in ((b"product", b"thing"), (b"otp_release", b"24")))
    connack = b"\x20" + bytes((3 + len(text), 0, 0, len(text))) + text
    results = run([brokers(connack=connack).port], known_deviations=own(entry("NEG-01")),
                  otp_releases=ON_27)
    assert row(results, "NEG-01")["status"] == "passed"
    assert results["nodes"][0]["otp_release"] == "24"
    assert results["notes"] == [("n1 itself tells Erlang/OTP 24, which counts, not 27 as "
                                 "emqx_otp_release declares")]


def test_a_file_that_forgives_what_must_not_be_is_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(v.RequestError, match="CORE and SEC checks are never known deviations"):
        run([1], known_deviations=own(entry("CORE-02")))
