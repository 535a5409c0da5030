"""The program in docs/paho-resumption.md does what the document says, as it stands there."""
from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mqtt_broker import MqttBroker
from tests.support.playbooks import ROOT, Cluster

DOCUMENT = ROOT / "docs" / "paho-resumption.md"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document's only Python block, in a file."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    path = tmp_path_factory.mktemp("paho") / "resume.py"
    path.write_text(block)
    return path


def run(program: Path, *arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-I", "-W", "error", str(program), "127.0.0.1",
                           *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_reconnect_is_resumed(cluster: Cluster, program: Path) -> None:
    port = str(cluster.ports[0])
    code, lines = run(program, port, str(ROOT / "certs" / "ca.pem"))
    assert lines == [
        f"127.0.0.1:{port}: TLSv1.2, not resumed (full handshake); CONNACK: Success",
        f"127.0.0.1:{port}: TLSv1.2, resumed; CONNACK: Success",
        "the reconnect was resumed"]
    assert code == 0


def test_on_another_node_it_is_not_resumed_and_connects(cluster: Cluster, program: Path) -> None:
    home, other = map(str, cluster.ports[:2])
    code, lines = run(program, home, str(ROOT / "certs" / "ca.pem"), "--reconnect-port", other)
    assert lines == [
        f"127.0.0.1:{home}: TLSv1.2, not resumed (full handshake); CONNACK: Success",
        f"127.0.0.1:{other}: TLSv1.2, not resumed (full handshake); CONNACK: Success",
        "the reconnect was not resumed"]
    assert code == 1


def test_a_broker_on_openssl_drops_the_session_without_close_notify(
        program: Path, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    broker = MqttBroker(*certificate, waits_for_close=True)
    # Some builds of Python forgive a missing close_notify; OpenSSL by itself does not.
    broker.context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    try:
        code, lines = run(program, str(broker.port), str(certificate[0]))
        assert (code, lines[-1]) == (0, "the reconnect was resumed")
        careless = tmp_path / "careless.py"
        # The broker drops the session when it sees the end of the first connection: give it time.
        careless.write_text(program.read_text().replace("        tls.unwrap()", "        pass")
                            .replace("    client.connect(arguments.host, arguments.reconnect_port",
                                     "    __import__('time').sleep(2)\n"
                                     "    client.connect(arguments.host, arguments.reconnect_port"))
        assert "sleep(2)" in careless.read_text()
        code, lines = run(careless, str(broker.port), str(certificate[0]))
        assert (code, lines[-1]) == (1, "the reconnect was not resumed")
    finally:
        broker.stop()
