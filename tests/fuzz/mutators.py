"""Mutations that keep the framing whole, so that what is within it is reached.

A byte put in or taken out anywhere in a TLS stream makes nonsense of all lengths around it and of
all records after it; here they are written anew, mostly.
"""
from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz import reference

Mutate = Callable[[bytes, int], bytes]
"""libFuzzer's: bytes, and the length that the result may have."""


def _vectors(body: bytes, at: int, sizes: tuple[int, ...]) -> list[bytes] | None:
    """Take vectors off a body, by the sizes of their lengths; None when they do not fit."""
    found = []
    for size in sizes:
        length = int.from_bytes(body[at:at + size], "big")
        at += size
        if at + length > len(body):
            return None
        found.append(body[at:at + length])
        at += length
    return [*found, body[at:]]


def _joined(parts: list[bytes], sizes: tuple[int, ...]) -> bytes:
    return b"".join((len(part) % 256**size).to_bytes(size, "big") + part
                    for part, size in zip(parts, sizes)) + b"".join(parts[len(sizes):])


class Framed:
    """One mutation of a stream of TLS records."""

    def __init__(self, mutate: Mutate, seed: int, longest: int) -> None:
        self._mutate, self._longest = mutate, longest
        self._random = random.Random(seed)  # noqa: S311 - libFuzzer gives the seed

    def stream(self, data: bytes) -> bytes:
        """Return it mutated."""
        try:
            records = reference.records(data)
        except reference.NotTlsError:
            records = []
        if not records or self._random.random() < 0.2:
            return self._any(data)
        at = self._random.randrange(len(records))
        what = self._random.random()
        if what < 0.1:
            records.insert(at, self._random.choice(records))
        elif what < 0.15:
            del records[at]
        elif what < 0.2:
            kind, fragment = records[at]
            cut = self._random.randint(0, len(fragment))
            records[at:at + 1] = [(kind, fragment[:cut]), (kind, fragment[cut:])]
        elif what < 0.25:
            records[at] = self._random.choice((20, 21, 22, 23, 24)), records[at][1]
        else:
            records[at] = records[at][0], self._fragment(*records[at])
        return b"".join(bytes((kind, 3, 3)) + len(fragment).to_bytes(2, "big") + fragment
                        for kind, fragment in records)

    def _any(self, data: bytes) -> bytes:
        return bytes(self._mutate(data, max(1, min(self._longest, 2 * len(data) + 64))))

    def _fragment(self, kind: int, fragment: bytes) -> bytes:
        messages = []
        while kind == reference.HANDSHAKE and len(fragment) >= 4:
            length = 4 + int.from_bytes(fragment[1:4], "big")
            messages.append((fragment[0], fragment[4:length]))
            fragment = fragment[length:]
        if not messages or self._random.random() < 0.2:
            return self._any(fragment)[:2**14]
        at = self._random.randrange(len(messages))
        what, body = messages[at]
        messages[at] = what, self._body(what, body)
        return b"".join(bytes((what,)) + len(body).to_bytes(3, "big") + body
                        for what, body in messages)[:2**14]

    def _body(self, what: int, body: bytes) -> bytes:
        """Mutate one field of a hello, or another message somewhere."""
        if what not in (1, 2) or self._random.random() < 0.2:
            return self._any(body)
        # After version and random: session_id, cipher_suites and compression_methods, extensions.
        sizes = (1, 2, 1, 2) if what == 1 else (1,)
        fields = _vectors(body, 34, sizes)
        if what == 2 and fields is not None:
            rest = _vectors(fields[1], 3, (2,))
            fields = None if rest is None else [fields[0], fields[1][:3], rest[0]]
        if fields is None:
            return self._any(body)
        at = self._random.randrange(len(fields))
        extensions = 3 if what == 1 else 2
        fields[at] = (self._extensions if at == extensions else self._any)(fields[at])
        if what == 1:
            return body[:34] + _joined(fields, sizes)
        return body[:34] + _joined([fields[0]], (1,)) + fields[1] + _joined([fields[2]], (2,))

    def _extensions(self, block: bytes) -> bytes:
        found = []
        while len(block) >= 4:
            length = int.from_bytes(block[2:4], "big")
            found.append((block[:2], block[4:4 + length]))
            block = block[4 + length:]
        if not found or self._random.random() < 0.2:
            return self._any(block)
        at = self._random.randrange(len(found))
        kind, data = found[at]
        which = self._random.random()
        if which < 0.4:
            found[at] = kind, self._any(data)
        elif which < 0.8:
            found[at] = self._any(kind)[:2].ljust(2, b"\x00"), data
        else:
            found.insert(at, (self._any(kind)[:2].ljust(2, b"\x00"), data))
        return b"".join(kind + (len(data) % 2**16).to_bytes(2, "big") + data
                        for kind, data in found)


def two_bytes_and_a_stream(mutate: Mutate, data: bytes, longest: int, seed: int) -> bytes:
    """Mutate an input of a target that takes two bytes and then a stream of records."""
    framed = Framed(mutate, seed, longest)
    if len(data) < 7 or seed % 16 == 0:
        return bytes(mutate(data, longest))
    return (data[:2] + framed.stream(data[2:]))[:longest]
