"""Crafted connections, each with its evidence."""
from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...lean_imports import parts_of
from ...model import Endpoint, Failure
from .. import evidence
from ..evidence import Begun, Ending, utc_now
from ..transcript import TranscriptError
from ..trust import EngineError, Trust
from ..wire import TIMEOUT, Deadline, Wire, WireError
from ..witness import judge
from .handshake import Talk
from .records import (
    AlertError,
    CraftedStream,
    EndError,
    Pipe,
    RejectedError,
    closed,
    pass_on,
    rejected,
)
from .vocabulary import HONEST, Conduct, CraftedSession, Hello, signed_with

with parts_of("tlslite"):
    from tlslite.errors import TLSAbruptCloseError
    from tlslite.utils.keyfactory import parsePEMKey
    from tlslite.x509certchain import X509CertChain

CraftedAttempt = evidence.Attempt[CraftedStream, CraftedSession]
"""The session is what both sides know a master secret of, whether the handshake was finished or
not."""


class CraftedClient:
    """Makes crafted connections."""

    def __init__(self, trust: Trust, *, stop: threading.Event | None = None) -> None:
        """Load the client certificate, for targets that ask for one.

        Raises:
            EngineError: it cannot be used.
        """
        self._stop = stop
        self._chain: Any = None
        self._key: Any = None
        if trust.cert_file is not None and trust.key_file is not None:
            try:
                self._chain = X509CertChain()
                self._chain.parsePemList(Path(trust.cert_file).read_text("ascii"))
                self._key = parsePEMKey(Path(trust.key_file).read_text("ascii"), private=True)
                signed_with(self._key)
            # tlslite-ng raises SyntaxError, ValueError and others for what is no PEM.
            except Exception as error:
                pass_on(error)
                raise EngineError(f"the client certificate {trust.cert_file} and key "
                                  f"{trust.key_file} cannot be used by tlslite-ng") from None

    def connect(self, endpoint: Endpoint, hello: Hello, *, offer: CraftedSession | None = None,
                conduct: Conduct = HONEST, deadline_s: float = 5.0) -> CraftedAttempt:
        """Make one connection. Whatever the target does is evidence, not an exception.

        Args:
            endpoint: where to.
            hello: what the ClientHello carries.
            offer: the session whose master secret is known, when ``hello`` offers it.
            conduct: how to go on.
            deadline_s: seconds for TCP connect and handshake together.

        Raises:
            Interrupted: the run was asked to stop.
        """
        asked = Begun(endpoint, utc_now(), hello.session_id)
        deadline = Deadline(deadline_s, self._stop, setting=TIMEOUT)
        begun = time.monotonic()
        try:
            wire = Wire(endpoint, deadline)
        except WireError as error:
            return CraftedAttempt(evidence.no_connection(asked, error.failure))
        asked = replace(asked, peer_address=wire.peer,
                        connect_ms=round((time.monotonic() - begun) * 1000, 3))
        try:
            talk = Talk(endpoint, Pipe(wire, deadline), hello, conduct, offer=offer,
                         identity=(self._chain, self._key))
            return _made(talk, asked, offered=bool(hello.session_id))
        except BaseException:
            wire.close()
            raise


def _made(talk: Talk, begun: Begun, *, offered: bool) -> CraftedAttempt:
    """Drive a handshake, and return what came of it.

    Its time is left out: a client in pure Python says nothing about the target's.
    """
    pipe = talk.pipe
    ending = _ending(talk)
    pipe.handshaking = False
    pipe.transcript.freeze()
    witnesses = talk.witnesses
    handshake = evidence.evidence(
        begun, pipe.transcript, ending or Ending(*judge(
            offered=offered, library_reused=bool(witnesses.library_reused),
            abbreviated=witnesses.wire_abbreviated,
            same_master_secret=witnesses.same_master_secret)), witnesses, cipher=talk.cipher)
    if ending is not None:
        pipe.wire.close()
        return CraftedAttempt(handshake, session=talk.session)
    pipe.wire.stage = "mqtt"
    return CraftedAttempt(handshake, CraftedStream(talk.records), talk.session)


def _ending(talk: Talk) -> Ending | None:
    """Drive a handshake; return how it ended unless it completed."""
    try:
        talk.drive()
    except AlertError as alert:
        return evidence.refused(alert.description)
    except (WireError, EndError) as error:
        failure = error.failure
    except TranscriptError as error:
        failure = Failure("handshake", "not_tls", str(error))
    except TLSAbruptCloseError:
        failure = closed("handshake").failure
    except RejectedError as error:
        failure = rejected("handshake", error)
    # What is not raised by what the target sent must not be called the target's.
    except Exception as error:
        pass_on(error)
        failure = Failure("handshake", "client_broke", "our own crafted client broke, whatever the "
                          f"target sent ({type(error).__name__}: {error})")
    else:
        return None
    return evidence.failed(failure)
