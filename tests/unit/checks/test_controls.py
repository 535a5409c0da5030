"""Second controls of NEG: what they say where nobody is to blame.

Nodes that forget everything are in tests/faulty_servers/servers.yml (``forgets_all_…``).
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.report.document import render
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Status, Verdict
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.faulty_servers.message_server import MessageServer
from tests.support.openssl_cli import make_identity

CHECKS = {check.id: check for check in catalogue()}
NO_DECLINE = {"NEG-11", "NEG-12", "SEC-03", "SEC-04"}
"""Checks of these families to which a session that is declined is no good news."""
OTHER_VERSIONS = ("tlsv1.1", "tlsv1.2")


@pytest.fixture(scope="module")
def rsa_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


Measure = Callable[..., Verdict]


@pytest.fixture
def measure(rsa_certificate: tuple[Path, Path]) -> Iterator[Measure]:
    """Measure a check on a server of its own."""
    engine = OrdinaryEngine(Trust(str(rsa_certificate[0])))

    def made(check: str, *faults: str, lifetime_s: float | None = None,
             forgets: bool = False, **settings: Any) -> Verdict:
        server = MessageServer(*rsa_certificate, *faults, lifetime_s=lifetime_s)
        target = Target({"n1": Endpoint("n1", "127.0.0.1", server.port, "localhost")},
                        Settings(deadline_s=2.0, **settings))
        bench = Bench(Prober(engine, target, threading.Event()))
        try:
            bench.sessions.fresh("n1")
            if forgets:
                server.cache.clear()
            before = len(bench.ledger.handshakes)
            verdict = measured(CHECKS[check], bench, ("n1",))
            assert bench.ledger.handshakes[before:] == list(verdict.handshakes)
            assert len(verdict.handshakes) == CHECKS[check].cost_for(target).total
            return verdict
        finally:
            server.stop()

    yield made
    engine.close()


@pytest.mark.parametrize(("declared", "status", "reason", "says"), [
    (0.001, Status.SKIPPED, "expired", "since sessions live 0.001 s"),
    (None, Status.ERROR, "forgotten", "declare emqx_session_lifetime"),
])
def test_a_session_that_had_expired_is_no_accusation(
        measure: Measure, declared: float | None, status: Status, reason: str, says: str) -> None:
    verdict = measure("NEG-07", lifetime_s=0.001, session_lifetime=declared)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.message
    assert says in verdict.message


def test_a_session_that_should_not_have_expired_yet_has_no_excuse(measure: Measure) -> None:
    verdict = measure("NEG-07", "forgets_all_after_unfinished", session_lifetime=60.0)
    assert (verdict.status, verdict.reason) == (Status.ERROR, "forgotten")
    assert "emqx_session_lifetime" not in verdict.message


def test_where_nothing_is_declared_to_resume_an_unknown_id_needs_no_control(
        measure: Measure) -> None:
    verdict = measure("NEG-01", "forgets_at_once", cache_scope="none")
    assert verdict.status is Status.PASSED
    assert [handshake.outcome for handshake in verdict.handshakes] == [Outcome.FULL]


def test_a_session_that_was_gone_before_is_no_accusation_either(measure: Measure) -> None:
    verdict = measure("NEG-01", forgets=True)
    assert (verdict.status, verdict.reason) == (Status.ERROR, "forgotten")
    assert "the node's own session does not resume either" in verdict.message


def test_who_breaks_on_what_must_resume_is_told(measure: Measure) -> None:
    verdict = measure("NEG-07", "alerts_when_resuming")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "refused")
    assert "(when a session that was made just before and ended properly was offered)" in \
        verdict.message


def test_older_sessions_that_resume_nowhere_cannot_cross(
        measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    find = MessageServer.find

    def of_tls_1_2_alone(server: MessageServer, session_id: bytes) -> bytes | None:
        made = server.made.get(session_id)
        return None if made is not None and made.version < (3, 3) else find(server, session_id)

    monkeypatch.setattr(MessageServer, "find", of_tls_1_2_alone)
    verdict = measure("NEG-06", "speaks_tls11", tls_versions=OTHER_VERSIONS)
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "nothing_resumes")
    assert "no session of TLS 1.1 resumes on n1, not even at TLS 1.1" in verdict.message


def test_every_check_to_which_a_decline_is_good_news_names_its_control() -> None:
    named = {check.id for check in catalogue() if check.control}
    assert named == {check.id for check in catalogue()
                     if check.family in ("NEG", "SEC")} - NO_DECLINE
    sections = {section.partition("\n")[0]: section for section in render().split("\n## ")[1:]}
    assert {check for check, section in sections.items()
            if "\n- Second control: " in section} == named
    assert all(check.control.endswith(".") for check in catalogue() if check.control)
