"""A load balancer in TCP mode: passes bytes on, and picks the node for each connection."""
from __future__ import annotations

import contextlib
import itertools
import random
import socket
import threading
from collections import Counter
from collections.abc import Sequence

from tests.support.listening import Listening

MODES = ("round_robin", "random", "source", "session_id", "broken_session_id")
_ID_AT = 43
"""Where the length of the session ID is in a record with a hello in it: 5 bytes of record header
(RFC 5246 6.2.1), 4 of the message's (7.4), 2 of version and 32 of random (7.4.1.2)."""
_RECORD = 5
_SHORTEST = 44
_WAIT_S = 20.0


def _session_id(record: bytes) -> bytes:
    """Return the session ID of a ClientHello or ServerHello, empty where there is none."""
    return record[_ID_AT + 1:_ID_AT + 1 + record[_ID_AT]] if len(record) >= _SHORTEST else b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return data
        data += more
    return data


def _first_record(connection: socket.socket) -> bytes:
    head = _exactly(connection, _RECORD)
    return head + _exactly(connection, int.from_bytes(head[3:5], "big"))


class TcpBalancer(Listening):
    """Listens on a free loopback port until :meth:`stop`.

    ``broken_session_id`` remembers the session IDs of ClientHellos instead of ServerHellos, so
    that it knows none of those that a node has issued.
    """

    silence_s = _WAIT_S

    def __init__(self, nodes: Sequence[int], mode: str, *, port: int = 0, seed: int = 1) -> None:
        """Balance between the nodes' ports on loopback; ``seed`` makes ``random`` repeatable."""
        assert mode in MODES, mode
        self.mode, self._nodes = mode, list(nodes)
        self.connections: Counter[int] = Counter()
        """By node's port."""
        self._turns = itertools.cycle(self._nodes)
        self._random = random.Random(seed)  # noqa: S311
        self._node_of: dict[bytes, int] = {}
        self._picking = threading.Lock()
        super().__init__(port=port)

    def _pick(self, source: str, hello: bytes) -> int:
        with self._picking:
            port = self._known(source, hello)
            if port is None:
                port = (self._random.choice(self._nodes) if self.mode == "random"
                        else next(self._turns))
            if self.mode == "source":
                self._node_of[source.encode()] = port
            if self.mode == "broken_session_id" and _session_id(hello):
                self._node_of[b"offered " + _session_id(hello)] = port
            self.connections[port] += 1
            return port

    def _known(self, source: str, hello: bytes) -> int | None:
        if self.mode == "source":
            return self._node_of.get(source.encode())
        return self._node_of.get(_session_id(hello)) if "session_id" in self.mode else None

    def talk(self, connection: socket.socket) -> None:
        """Pass a client on to a node, and back what that says."""
        hello = _first_record(connection)
        port = self._pick(connection.getpeername()[0], hello)
        with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as node:
            node.sendall(hello)
            back = threading.Thread(target=self._back, args=(node, connection, port), daemon=True)
            back.start()
            _pump(connection, node)
            back.join(_WAIT_S)

    def _back(self, node: socket.socket, client: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            answer = _first_record(node)
            if self.mode == "session_id" and _session_id(answer):
                with self._picking:
                    self._node_of[_session_id(answer)] = port
            client.sendall(answer)
            _pump(node, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes until one side closes, and close the other one too."""
    try:
        while data := source.recv(16384):
            sink.sendall(data)
    finally:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
