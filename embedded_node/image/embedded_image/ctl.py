"""``emqx ctl …``, ``emqx eval …`` and ``emqx ping``: ask the node of this container.

By its socket and not by Erlang distribution, which costs a second Erlang a call and fails while
the container is off its network.
"""
from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

_ANSWER_S = 10.0
_LONGEST_ANSWER = 16 * 1024 * 1024


class NodeError(Exception):
    """The node does not answer; the sentence says why."""


def ask(path: Path, arguments: list[str], timeout_s: float = _ANSWER_S) -> tuple[int, str]:
    """Send one command and return its exit status and text.

    Raises:
        NodeError: no node, or no whole answer in time.
    """
    request = b"".join(argument.encode("utf-8", "surrogateescape") + b"\0"
                       for argument in arguments)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(timeout_s)
        try:
            caller.connect(str(path))
            caller.sendall(struct.pack(">I", len(request)) + request)
            (length,) = struct.unpack(">I", _exactly(caller, 4))
            if not 1 <= length <= _LONGEST_ANSWER:
                raise NodeError("the node's answer makes no sense")
            answer = _exactly(caller, length)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NodeError("the node is not running in this container") from None
        except PermissionError:
            raise NodeError("only user emqx and root may ask the node") from None
        except TimeoutError:
            raise NodeError(f"the node did not answer within {timeout_s:g} s") from None
        except OSError as error:
            raise NodeError(f"the node does not answer: {error.strerror or error}") from None
    return answer[0], answer[1:].decode("utf-8", "replace")


def _exactly(caller: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        data = caller.recv(min(65536, length - len(received)))
        if not data:
            raise NodeError("the node's answer broke off")
        received += data
    return bytes(received)


def main(arguments: list[str]) -> int:
    """Ask by the socket that is the first argument; print the answer."""
    try:
        status, text = ask(Path(arguments[0]), arguments[1:])
    except NodeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    (sys.stderr if status else sys.stdout).write(text)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
