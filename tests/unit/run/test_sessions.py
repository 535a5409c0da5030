"""The book of sessions, with a prober that answers at once."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import cast

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Failure,
    Handshake,
    Outcome,
    SecretFingerprint,
    Session,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run import beyond
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import (
    Contact,
    Offer,
    Prober,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.sessions import SessionBook
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    NOT_OFFERED,
    OrdinaryEngine,
)


class Nodes(Prober):
    """Nodes that issue sessions, and a library that offers some of them no more."""

    def __init__(self, **settings: float) -> None:
        nodes = {name: Endpoint(name, "127.0.0.1", 1, "localhost") for name in ("n1", "n2", "n3")}
        super().__init__(cast(OrdinaryEngine, None), Target(nodes, Settings(**settings)),  # type: ignore[arg-type]
                         threading.Event())
        self.spoilt: set[bytes] = set()
        self.offers: list[tuple[str, bytes]] = []
        self.issues = True

    def can_offer(self, node: str, session: Session) -> bool:
        return session.id not in self.spoilt

    def tried(self, offer: Offer) -> Contact:
        endpoint, offered = self.target.nodes[offer.node], offer.session
        if offered is not None and offered.id in self.spoilt:
            return Contact(Handshake(endpoint, "", Outcome.FAILED, "", failure=Failure(
                "handshake", NOT_OFFERED, "")))
        self.offers.append((offer.node, offered.id if offered else b""))
        resumed = offered is not None and offered.issuer == offer.node
        new = len(self.offers).to_bytes(2, "big")
        session = Session(new, "c", offer.node, "", None, SecretFingerprint(new), b"", b"")
        handshake = Handshake(endpoint, "", Outcome.RESUMED if resumed else Outcome.FULL, "",
                              bytes_in=1)
        kept = session if self.issues and offer.keep_session and not resumed else None
        return self.heard(offer.node, Contact(handshake, kept))


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def book(nodes: Nodes) -> SessionBook:
    return SessionBook(nodes)


def made(book: SessionBook, node: str = "n1") -> Session:
    session = book.fresh(node).session
    assert session is not None
    return session


def test_a_fresh_session_is_remembered_and_can_be_forgotten(book: SessionBook) -> None:
    session = made(book)
    assert dict(book) == {"n1": session}
    assert made(book) is book["n1"] is not session
    book.forget("n1")
    book.forget("n1")
    assert "n1" not in book
    assert len(book) == 0


def test_without_a_session_id_nothing_is_remembered(nodes: Nodes, book: SessionBook) -> None:
    nodes.issues = False
    assert book.fresh("n1").session is None
    assert "n1" not in book


def test_a_session_is_offered_and_what_is_issued_instead_is_not_kept(
        nodes: Nodes, book: SessionBook) -> None:
    session = made(book)
    assert book.offer("n1", "n1").handshake.outcome is Outcome.RESUMED
    contact = book.offer("n1", "n2")
    assert (contact.handshake.outcome, contact.session) == (Outcome.FULL, None)
    assert nodes.offers[1:] == [("n1", session.id), ("n2", session.id)]
    assert book["n1"] is session
    assert nodes.ledger.unannounced == 0


@pytest.mark.parametrize(("after", "on_the_way"), [("", []), ("n3", ["n3"])])
def test_one_that_is_spoilt_is_made_again_and_resumes_at_home_before_it_is_offered(
        nodes: Nodes, book: SessionBook, after: str, on_the_way: list[str]) -> None:
    nodes.spoilt.add(made(book).id)
    before = len(nodes.offers)
    contact = book.offer("n1", "n2", after=after)
    new = book["n1"].id
    assert contact.handshake.key
    assert nodes.offers[before:] == [
        ("n1", b""), ("n1", new), *((node, new) for node in on_the_way), ("n2", new)]
    assert nodes.ledger.renewed == {"n1": beyond.SPOILT}
    # The last one is what was announced.
    assert nodes.ledger.unannounced == 2 + len(on_the_way)


def test_one_that_cannot_be_made_again_is_told_with_what_came_instead(
        nodes: Nodes, book: SessionBook) -> None:
    session = made(book)
    nodes.spoilt.add(session.id)
    nodes.issues = False
    contact = book.offer("n1", "n2")
    assert (contact.handshake.endpoint.name, contact.session) == ("n1", None)
    assert book["n1"] is session


def test_an_undeclared_lifetime_makes_no_session_old(
        nodes: Nodes, book: SessionBook, monkeypatch: pytest.MonkeyPatch) -> None:
    session, now = made(book), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10**6)
    assert book.renew(["n1", "n2"]) is None
    assert book["n1"] is session


@pytest.mark.parametrize(("age_s", "renewed"), [(4.9, False), (5.0, True)])
def test_half_a_lifetime_is_old(
        monkeypatch: pytest.MonkeyPatch, age_s: float, renewed: bool) -> None:
    nodes, at = Nodes(session_lifetime=10), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    book = SessionBook(nodes)
    session = made(book)
    at[0] += age_s / 2
    book.remember("n1", session)  # resumed: it is no younger for that
    at[0] += age_s / 2
    # Twice in one subject is once.
    assert book.renew(["n1", "n1", "n2"]) is None
    assert (book["n1"] is not session) == renewed
    assert nodes.ledger.beyond == ({beyond.RENEWALS: {"n1": 1}} if renewed else {})


@pytest.mark.parametrize(("subject", "renewed"), [(["n1"], True), (["n1", "n2"], False)])
def test_a_pair_leaves_a_spoilt_session_to_its_offer(
        nodes: Nodes, book: SessionBook, subject: list[str], renewed: bool) -> None:
    session = made(book)
    nodes.spoilt.add(session.id)
    assert not book.can_offer("n1")
    book.renew(subject)
    assert book.can_offer("n1") == renewed
    assert nodes.ledger.renewed == ({"n1": beyond.SPOILT} if renewed else {})


def test_what_brings_no_new_session_is_told(nodes: Nodes, book: SessionBook) -> None:
    nodes.spoilt.add(made(book).id)
    nodes.issues = False
    lost = book.renew(["n1"])
    assert lost is not None
    assert lost.handshake.key == "h00002"


def test_subjects_side_by_side_make_a_spoilt_session_again_once(
        nodes: Nodes, book: SessionBook) -> None:
    nodes.spoilt.add(made(book).id)
    offers: list[Callable[[], Contact]] = [
        lambda: book.offer("n1", "n2"), lambda: book.offer("n1", "n3")]
    threads = [threading.Thread(target=offer) for offer in offers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert nodes.ledger.beyond == {beyond.SPOILT: {"n1": 2}}
    assert {node for node, offered in nodes.offers if offered == book["n1"].id} == {
        "n1", "n2", "n3"}
