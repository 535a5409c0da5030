"""The sessions that a run remembers, one for each node: made, renewed, offered and forgotten."""
from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from ..model import Session
from . import beyond
from .prober import Contact, Offer, Prober


class SessionBook(Mapping[str, Session]):
    """By issuer: the session that CORE-01 established, or the one that took its place.

    Thread-safe.
    """

    def __init__(self, prober: Prober) -> None:
        self._prober, self._ledger = prober, prober.ledger
        self._sessions: dict[str, Session] = {}
        self._established: dict[str, float] = {}
        self._renewing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def __getitem__(self, issuer: str) -> Session:
        return self._sessions[issuer]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)

    def fresh(self, issuer: str) -> Contact:
        """Make a full handshake with a node and remember the session it issued.

        Raises:
            Interrupted: the run was asked to stop.
        """
        contact = self._prober.contact(Offer(issuer))
        if contact.session is not None:
            self.remember(issuer, contact.session)
        return contact

    def remember(self, issuer: str, session: Session) -> None:
        """Let this be the issuer's session from now on."""
        with self._lock:
            known = self._sessions.get(issuer)
            if known is None or known.id != session.id:
                self._established[issuer] = time.monotonic()
            self._sessions[issuer] = session

    def forget(self, issuer: str) -> None:
        """Offer the issuer's session no more: the issuer has lost it."""
        with self._lock:
            self._sessions.pop(issuer, None)

    def can_offer(self, issuer: str) -> bool:
        """Tell whether our TLS library still offers the session that is remembered of a node."""
        return self._prober.can_offer(issuer, self[issuer])

    def renew(self, nodes: Iterable[str]) -> Contact | None:
        """Replace remembered sessions that have lived half the time they are declared to have.

        What a check then offers has not expired, as long as it takes less than the other half. Of
        a single node, one that our library does not offer any more is replaced too; pairs leave
        that to :meth:`offer`, since such a session must resume at home first.
        Returns the contact that should have brought a new session and did not, or None.

        Raises:
            Interrupted: the run was asked to stop.
        """
        names = tuple(dict.fromkeys(nodes))
        for node in names:
            with self._alone(node):
                if node not in self:
                    continue
                if self._is_old(node):
                    reason = beyond.RENEWALS
                elif len(names) == 1 and not self.can_offer(node):
                    reason = beyond.SPOILT
                else:
                    continue
                with self._ledger.made_again(node, reason):
                    contact = self.fresh(node)
                if contact.session is None:
                    return contact
        return None

    def offer(self, issuer: str, redeemer: str, *, after: str = "") -> Contact:
        """Offer the issuer's remembered session to the redeemer.

        OpenSSL forbids a session for good when a peer answers its ClientHello with a fatal
        alert. One spoilt that way by *another* redeemer would not be offered to this
        one, so a new one is made at home, and resumed there first; then it is offered to the node
        ``after`` which it is to be offered here.

        A session that the redeemer issues instead is not kept.

        Raises:
            Interrupted: the run was asked to stop.
        """
        contact = self._tried(redeemer, self[issuer])
        if not contact.spoilt:
            return contact
        with self._alone(issuer):
            # Somebody else may have made a new one meanwhile, which has not been elsewhere, though.
            contact = contact if after else self._tried(redeemer, self[issuer])
            if not contact.spoilt:
                return contact
            with self._ledger.made_again(issuer, beyond.SPOILT):
                renewed = self._prober.contact(Offer(issuer))
                if renewed.session is None:
                    return renewed
                self._prober.contact(Offer(issuer, renewed.session))
                if after:
                    self._prober.contact(Offer(after, renewed.session, keep_session=False))
            # Not remembered before, lest others offer it meanwhile, and spoil it.
            contact = self._prober.contact(Offer(redeemer, renewed.session, keep_session=False))
            self.remember(issuer, renewed.session)
            return contact

    def _tried(self, redeemer: str, session: Session) -> Contact:
        return self._prober.tried(Offer(redeemer, session, keep_session=False))

    def _alone(self, issuer: str) -> threading.Lock:
        """Return what to hold while an issuer's session is being made again."""
        with self._lock:
            return self._renewing[issuer]

    def _is_old(self, issuer: str) -> bool:
        lifetime = self._prober.target.settings.session_lifetime
        return (lifetime is not None
                and time.monotonic() - self._established[issuer] >= lifetime / 2)
