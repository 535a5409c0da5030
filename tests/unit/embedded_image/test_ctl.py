"""Asking the node of a container, by its socket."""
from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from embedded_image import ctl


@contextmanager
def node(path: Path, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    """A node that answers one request."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            caller, _ = listener.accept()
            with caller:
                (length,) = struct.unpack(">I", caller.recv(4))
                caller.sendall(answer(caller.recv(length)))

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            server.join(10)


def framed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def test_arguments_and_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return framed(b"\0\xc3\xa9 pong\n")

    with node(tmp_path / "s", answer):
        assert ctl.main([str(tmp_path / "s"), "eval", "a + b", "é"]) == 0
    assert asked == [b"eval\0a + b\0\xc3\xa9\0"]
    assert capsys.readouterr() == ("é pong\n", "")


def test_a_refusal_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with node(tmp_path / "s", lambda _: framed(b"\1unknown command\n")):
        assert ctl.main([str(tmp_path / "s"), "ctl", "x"]) == 1
    assert capsys.readouterr() == ("", "unknown command\n")


def test_no_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main([str(tmp_path / "s"), "ctl", "status"]) == 1
    assert capsys.readouterr() == ("", "the node is not running in this container\n")


def test_a_socket_that_a_killed_node_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
        gone.bind(str(tmp_path / "s"))
    with pytest.raises(ctl.NodeError, match="not running"):
        ctl.ask(tmp_path / "s", ["ping"])


@pytest.mark.parametrize("answer", [b"", b"\0\0", framed(b"\0pong")[:-1], framed(b""),
                                    b"\xff\xff\xff\xff"])
def test_half_an_answer(tmp_path: Path, answer: bytes) -> None:
    with node(tmp_path / "s", lambda _: answer), pytest.raises(ctl.NodeError):
        ctl.ask(tmp_path / "s", ["ping"])


def test_a_frozen_node(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as frozen:
        frozen.bind(str(tmp_path / "s"))
        frozen.listen()
        with pytest.raises(ctl.NodeError, match=r"did not answer within 0\.2 s"):
            ctl.ask(tmp_path / "s", ["ping"], timeout_s=0.2)
