"""What an upgrade changes: sentences from rules and from measurements."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.reuse import resumes
from ansible_collections.emqx.conformance.plugins.module_utils.upgrade import (
    BETTER,
    NOTE,
    SAME,
    WORSE,
    changes,
    headline,
)

OLD = ("Erlang/OTP 26", False)
NEW = ("Erlang/OTP 29", True)
PASSED = {"status": "passed", "reason": "", "message": "it resumed"}
FAILED = {"status": "failed", "reason": "not_resumed", "message": "it did not resume"}


def row(release: str, *, value: bool = True, verify_peer: bool = False, node: str = "n1",
        erlang: tuple[str, bool | None] = OLD, **more: Any) -> dict[str, Any]:
    """A listener as the inventory check returns it."""
    return {"name": f"{node}/mine", "node": node, "listener": "mine", "release": release,
            "erlang": erlang[0], "reuse_sessions": value, "stated": True,
            "verify_peer": verify_peer, "built_with": None, "why_not": "",
            "resumes": resumes(parse_release(release), value=value, verify_peer=verify_peer,
                               off=erlang[1]), **more}


def told(today: dict[str, Any], after: dict[str, Any], *findings: dict[str, Any],
         check: str = "CORE-02") -> list[tuple[str, str]]:
    """Return what is said of one listener."""
    seen = tuple({"n1/mine": {check: finding}} for finding in findings)
    measured = (seen[0], seen[1]) if seen else None
    return [(change.kind, change.message) for change in changes([today], [after], measured)]


def test_what_stays() -> None:
    [(kind, message)] = told(row("5.8.9"), row("5.10.2"))
    assert kind == SAME
    assert message == ("ssl.mine of n1 (reuse_sessions = true): resumes today (EMQX 5.8.9, "
                       "Erlang/OTP 26) and after the upgrade (EMQX 5.10.2, Erlang/OTP 26)")


@pytest.mark.parametrize(("release", "mended"), [
    ("5.9.0", "5.10.3"), ("6.0.1", "6.0.2"), ("6.1.0", "6.1.1")])
def test_false_is_ignored(release: str, mended: str) -> None:
    [(kind, message)] = told(row("5.8.9", value=False), row(release, value=False))
    assert kind == WORSE
    assert message.startswith("ssl.mine of n1 (reuse_sessions = false): resumes nobody today ")
    assert message.endswith(
        f"and will after the upgrade (EMQX {release}, Erlang/OTP 26): EMQX {release} ignores false "
        f"(emqx/emqx#16456), which counts again from {mended} on: upgrade to that")


def test_false_counts_again() -> None:
    [(kind, message)] = told(row("5.10.2", value=False), row("5.10.3", value=False))
    assert kind == BETTER
    assert "resumes today (EMQX 5.10.2, Erlang/OTP 26) and will not after" in message


def test_listeners_with_client_certificates_stop_resuming() -> None:
    [(kind, message)] = told(row("5.8.9", verify_peer=True),
                             row("5.10.2", verify_peer=True, erlang=NEW))
    assert kind == WORSE
    assert "(reuse_sessions = true, verify_peer): resumes today (EMQX 5.8.9" in message
    assert ("and will not after the upgrade (EMQX 5.10.2, Erlang/OTP 29): EMQX 5.10.2 leaves true "
            "out, and that Erlang/OTP resumes nobody on a listener with verify_peer") in message
    assert told(row("5.8.9", erlang=NEW), row("5.10.2", erlang=NEW))[0][0] == SAME


def test_what_is_wrong_on_both_is_no_change_and_said() -> None:
    [(kind, message)] = told(row("5.9.0", value=False), row("5.10.2", value=False))
    assert kind == SAME
    assert "resumes today" in message
    assert "EMQX 5.10.2 ignores false" in message


def test_an_erlang_that_is_not_known_is_asked_for() -> None:
    unknown = ("Erlang/OTP 27", None)
    [(kind, message)] = told(row("5.8.9", verify_peer=True),
                             row("5.10.3", verify_peer=True, erlang=unknown))
    assert (kind, "name its Erlang/OTP to the patch in emqx_otp_release" in message) == (NOTE, True)
    # Told or measured, nobody need know.
    assert told(row("5.8.9", verify_peer=True),
                row("5.10.3", verify_peer=True, erlang=unknown), PASSED, FAILED)[0][0] == WORSE


def test_what_was_left_out_is_another_from_6_2_on() -> None:
    said = told(row("5.8.9", stated=False), row("6.2.0", stated=False))
    assert [kind for kind, _ in said] == [SAME, NOTE]
    assert "set reuse_sessions = true there before the upgrade" in said[1][1]
    assert len(told(row("6.2.0", stated=False), row("6.3.0", stated=False))) == 1


def test_measured_it_must_be_as_foretold() -> None:
    today, after = row("5.8.9"), row("5.10.2")
    assert told(today, after, PASSED, PASSED)[0][0] == SAME
    [(kind, message)] = told(today, after, PASSED, FAILED)
    assert kind == WORSE
    assert ("as EMQX 5.10.2, Erlang/OTP 26 it was measured to resume nobody, which is not what is "
            "known of that release: it did not resume") in message


def test_what_could_not_be_measured_is_never_the_same() -> None:
    refused = {"status": "error", "reason": "client_certificate_demanded", "message": "who are you"}
    [(kind, message)] = told(row("5.8.9"), row("5.10.2"), refused, PASSED)
    assert (kind, "could not be measured as EMQX 5.8.9, Erlang/OTP 26: who are you" in message) == (
        WORSE, True)
    [change] = changes([row("5.8.9")], [row("5.10.2")], ({}, {}))
    assert (change.kind, "it was not measured" in change.message) == (WORSE, True)


def test_who_cannot_be_asked_is_named_with_the_reason() -> None:
    [(kind, message)] = told(row("5.8.9", why_not="it speaks no TLS 1.2"), row("5.10.2"))
    assert (kind, message) == (
        NOTE, "ssl.mine of n1 (reuse_sessions = true): it speaks no TLS 1.2")


@pytest.mark.parametrize(("was", "will", "kind"), [
    ("passed", "failed", WORSE), ("skipped", "failed", WORSE), ("failed", "passed", BETTER),
    ("failed", "failed", SAME)])
def test_client_certificates_that_are_got_around(was: str, will: str, kind: str) -> None:
    def finding(status: str) -> dict[str, dict[str, Any]]:
        return {"CORE-02": PASSED, "SEC-01": {
            "status": status, "reason": "", "message": "n1/mine resumed a session. It is bad."}}

    found = changes([row("5.8.9")], [row("5.10.2")],
                    ({"n1/mine": finding(was)}, {"n1/mine": finding(will)}))
    (crossing,) = (change for change in found if change.message.startswith("client certificates"))
    assert crossing.kind == kind
    assert ("n1 resumed a session" in crossing.message) is (kind == WORSE)
    assert "It is bad" not in crossing.message


def test_nodes_that_fare_alike_share_a_sentence_and_the_worst_comes_first() -> None:
    today = [row("5.8.9", node=node) for node in ("n1", "n2")]
    after = [row("5.10.2", node=node) for node in ("n1", "n2")]
    quiet = [row(release, node="n3", value=False, name="n3/quiet", listener="quiet")
             for release in ("5.8.9", "5.10.2")]
    found = changes([*today, quiet[0]], [*after, quiet[1]])
    assert [change.kind for change in found] == [WORSE, SAME]
    assert found[1].message.startswith("ssl.mine of n1, n2 (")
    assert headline(found, "5.8.9", "5.10.2") == (
        "from EMQX 5.8.9 to 5.10.2: 1 for the worse, 0 for the better, 1 stay as they are")


def test_what_emqx_itself_is_built_with_is_said_where_the_node_has_another() -> None:
    said = told(row("5.8.9", built_with=26), row("5.10.2", built_with=27))
    assert said[-1] == (NOTE, ("EMQX 5.8.9 itself is built with Erlang/OTP 26, and 5.10.2 with 27: "
                               "docs/upgrade.md says what that changes"))
