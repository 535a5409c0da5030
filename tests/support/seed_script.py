"""tls1.2-resumption-test.sh as a user runs it, and the servers it has to explain."""
from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tls1.2-resumption-test.sh"


@dataclass(frozen=True)
class Said:
    """What a finished run said."""

    code: int
    output: str
    errors: str

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return self.output.splitlines()

    @property
    def flat(self) -> str:
        """Standard output with its line breaks folded away."""
        return " ".join(self.output.split())

    @property
    def verdict(self) -> str:
        """What stands behind the last "Verdict", notes included."""
        return self.flat.rpartition(" Verdict ")[2]


def no_ignored_signals() -> None:
    """For ``preexec_fn``: let signals have effect, though this run was started to ignore them."""
    # Bash cannot trap what was ignored when it started, as for a test run in the background, and
    # Python raises no KeyboardInterrupt then.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Script:
    """The script with a temporary folder and an environment of its own."""

    temporary: Path
    """TMPDIR; a run leaves nothing in it."""
    path: Path = SCRIPT
    programs: str = field(default_factory=lambda: os.environ["PATH"])
    """PATH."""

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None,
              ) -> subprocess.Popen[str]:
        """Start it in a process group of its own, like a job at a terminal."""
        return subprocess.Popen(
            [str(self.path), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=no_ignored_signals,  # noqa: PLW1509 - no threads hold locks that it needs
            env={"PATH": self.programs, "TMPDIR": str(self.temporary), **(environment or {})})

    def finish(self, process: subprocess.Popen[str]) -> Said:
        """Wait for its end and see that nothing is left of it."""
        output, errors = process.communicate(timeout=60)
        assert list(self.temporary.iterdir()) == []
        assert self.processes() == []
        return Said(process.returncode, output, errors)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Said:
        """Run it to its end; only wrong usage is said on standard error."""
        said = self.finish(self.start(*arguments, environment=environment))
        assert said.errors == ""
        return said

    def processes(self) -> list[str]:
        """The command lines that name the temporary folder."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = file.read_text(errors="replace")
                if str(self.temporary) in command:
                    found.append(command.replace("\0", " "))
        return found

    def session_file(self) -> Path:
        """Wait for the session file of a run that goes on."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for file in self.temporary.glob("*/session.*"):
                if file.stat().st_size:
                    return file
            time.sleep(0.01)
        raise AssertionError("no session file came")


@contextlib.contextmanager
def s_server(certificate: tuple[Path, Path], port: int, *options: str,
             host: str = "127.0.0.1") -> Iterator[None]:
    """OpenSSL's own server, which speaks no MQTT, until the block ends."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # At the end of its input it would close its connections.
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", address, "-cert", str(certificate[0]),
         "-key", str(certificate[1]), "-quiet", *options],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((host, port), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.communicate()


def closes(connection: socket.socket) -> None:
    """What a plain MQTT listener does with a ClientHello."""
    connection.recv(4096)


def http(connection: socket.socket) -> None:
    """What a web server says to a ClientHello."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def silent(connection: socket.socket) -> None:
    """Take everything, say nothing, until the client goes."""
    while connection.recv(4096):
        pass


def first_records(port: int, count: int, *,
                  then: Callable[[socket.socket], None] | None = None,
                  ) -> Callable[[socket.socket], None]:
    """Relay to a server on loopback and pass on only the first TLS records it answers."""
    def serve(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as server:
            server.sendall(connection.recv(4096))
            stream = server.makefile("rb")
            for _ in range(count):
                header = stream.read(5)
                connection.sendall(header + stream.read(int.from_bytes(header[3:], "big")))
            if then is not None:
                then(connection)
    return serve


def in_pieces(port: int, size: int) -> Callable[[socket.socket], None]:
    """Relay to a server on loopback and pass its answers on in pieces of so many bytes."""
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as server:
            thread = threading.Thread(target=pump, args=(connection, server), daemon=True)
            thread.start()
            while answer := server.recv(size):
                connection.sendall(answer)
                time.sleep(0.005)
            connection.shutdown(socket.SHUT_WR)
            thread.join(30)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    return serve
