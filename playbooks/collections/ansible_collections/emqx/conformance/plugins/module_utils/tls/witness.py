"""Hears the three witnesses and says what a completed handshake was.

"Resumed" is never one library's word: the library, the wire and the key material must
agree. "Full" likewise. Anything else is ``inconsistent``.
"""
from __future__ import annotations

from ..model import Outcome
from .transcript import Transcript

_FULL_ONLY = ("Certificate", "ServerKeyExchange", "ServerHelloDone")
"""Messages of the full handshake that the abbreviated one leaves out (RFC 5246 7.3)."""


def wire_says_abbreviated(transcript: Transcript) -> bool | None:
    """Return what the wire shows: True abbreviated, False full, None neither.

    Abbreviated is TLS 1.2, or the older version that is all a client asks for (its abbreviated
    handshake is the same), an offered ID echoed, and none of the full handshake's messages before
    the server's ChangeCipherSpec. Full is a Certificate and no echo.
    """
    client, server = transcript.client_hello, transcript.server_hello
    if client is None or server is None:
        return None
    flight = transcript.server_flight()
    echoed = bool(client.session_id) and server.session_id == client.session_id
    asked_for = server.version in ("tlsv1.2", client.version)
    if (echoed and asked_for and transcript.server_sent("ChangeCipherSpec")
            and not any(name in flight for name in _FULL_ONLY)):
        return True
    # A TLS 1.3 server echoes any legacy_session_id (RFC 8446 4.1.3): its echo proves nothing.
    if "Certificate" in flight and not echoed:
        return False
    if server.version == "tlsv1.3":
        return False
    return None


def judge(*, offered: bool, library_reused: bool, abbreviated: bool | None,
          same_master_secret: bool | None) -> tuple[Outcome, str]:
    """Return the outcome of a completed handshake and why, in one clause.

    Args:
        offered: a session was offered.
        library_reused: the TLS library says the session was reused.
        abbreviated: what :func:`wire_says_abbreviated` saw.
        same_master_secret: the connection is keyed by the offered session's master
            secret; None when nothing was offered.
    """
    if offered and library_reused and abbreviated is True and same_master_secret is True:
        return Outcome.RESUMED, "library, wire and master secret agree: resumed"
    if not library_reused and abbreviated is False and same_master_secret is not True:
        heard = "library, wire and master secret agree" if offered else "library and wire agree"
        return Outcome.FULL, f"{heard}: full handshake"
    wire = {True: "an abbreviated", False: "a full", None: "neither a full nor an abbreviated"}
    secret = {True: "the offered", False: "a new", None: "an uncompared"}
    return Outcome.INCONSISTENT, (
        f"the witnesses disagree: the library says {'reused' if library_reused else 'not reused'}, "
        f"the wire shows {wire[abbreviated]} handshake, the connection is keyed by "
        f"{secret[same_master_secret]} master secret")
