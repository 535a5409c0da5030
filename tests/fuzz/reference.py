"""TLS 1.2's messages read from one direction's whole stream, in the plainest way there is.

Written from RFC 5246 6.2.1, 7.2 and 7.4 alone, to be compared with the incremental reader: no state
but the rest of the stream, no bounds, nothing named.
"""
from __future__ import annotations

import struct
from typing import Optional

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE = 20, 21, 22
Seen = tuple[int, Optional[int], int]
"""Content type, handshake type (None for other content and what is encrypted), length."""


class NotTlsError(Exception):
    """The stream is none of TLS records."""


def records(stream: bytes) -> list[tuple[int, bytes]]:
    """Return the whole records: content type and fragment."""
    found = []
    while len(stream) >= 5:
        kind, major, _, length = struct.unpack_from("!BBBH", stream)
        if kind not in range(20, 25) or major != 3 or length > 16384 + 2048:
            raise NotTlsError
        if len(stream) < 5 + length:
            break
        found.append((kind, stream[5:5 + length]))
        stream = stream[5 + length:]
    return found


def messages(stream: bytes) -> list[Seen]:
    """Return the whole messages in order of their ends."""
    seen: list[Seen] = []
    joined = b""
    encrypted = False
    for kind, fragment in records(stream):
        if kind != HANDSHAKE or encrypted:
            seen.append((kind, None, len(fragment)))
            encrypted = encrypted or kind == CHANGE_CIPHER_SPEC
            continue
        joined += fragment
        while len(joined) >= 4:
            length = 4 + int.from_bytes(joined[1:4], "big")
            if len(joined) < length:
                break
            seen.append((HANDSHAKE, joined[0], length))
            joined = joined[length:]
    return seen
