"""What every scenario asks from outside, with tools that know nothing of this project."""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", Path(__file__).parents[2]))
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
INVENTORY = SCENARIO / "inventory"
REPORTS = ROOT / ".cache" / "molecule" / SCENARIO.name
LATEST = REPORTS / "latest"
TIMEOUT_S = 10.0
BASE_PORT = int(os.environ["SCENARIO_BASE_PORT"])
"""The first of a scenario's ports: .config/molecule/config.yml's where nobody hands out another."""


def ports(*names: str, after: int = 0) -> dict[str, int]:
    """Return the scenario's ports by name, beginning so many after the first."""
    return {name: BASE_PORT + after + number for number, name in enumerate(names)}


@dataclass(frozen=True)
class Verification:
    """A run of the shipped verify.yml."""

    exit_code: int
    output: str
    results: dict[str, Any]
    report: Path
    """Folder of this run's report."""


def run_verify(*extra: str) -> Verification:
    """Run the shipped ``verify.yml`` on the scenario's inventory, as a user would."""
    before = LATEST.resolve()
    done = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), "verify.yml",
         "-e", f"resumption_reports_dir={REPORTS}", *extra],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"})
    output = done.stdout + done.stderr
    report = LATEST.resolve()
    assert report != before, f"no report was written\n{output}"
    results = json.loads((report / "results.json").read_text())
    return Verification(done.returncode, output, results, report)


def assert_complete(verification: Verification, nodes: Iterable[str]) -> None:
    """Every cell and every planned check is in every report, whatever happened."""
    results = verification.results
    assert results["complete"] is True
    assert {(cell["issuer"], cell["redeemer"]) for cell in results["matrix"]} == set(
        itertools.product(nodes, repeat=2))
    assert all(cell["passed"] or cell["reason"] for cell in results["matrix"])
    assert all(row["status"] and row["message"] for row in results["checks"])
    assert sum(results["counts"].values()) == len(results["checks"])
    cases = ET.parse(verification.report / "junit.xml").getroot().iter("testcase")
    assert Counter(case.get("classname") for case in cases) == Counter(
        ["verdict", *(row["id"] for row in results["checks"])])


def flat(text: str) -> str:
    """Return a text without its line breaks and indentation."""
    return " ".join(text.split())


def matrix(results: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Return the outcome of every pair of a report, by issuer and redeemer."""
    return {(cell["issuer"], cell["redeemer"]): cell["outcome"] for cell in results["matrix"]}


def openssl_reconnects(host: str, port: int) -> list[str]:
    """Return ``New`` or ``Reused`` for each connection of ``s_client -reconnect -no_ticket``.

    The first is the full handshake, the other five offer its session.
    """
    # A CONNECT is not sent: the node closes such a client only after 15 s.
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-no_ticket",
         "-reconnect", "-CAfile", str(ROOT / "certs" / "ca.pem")],
        input="", capture_output=True, text=True, check=False, timeout=30)
    return re.findall(r"^(New|Reused), TLSv1\.2, Cipher is ", done.stdout, re.MULTILINE)


def _s_client(port: int, ca: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", "-no_ticket",
         "-CAfile", str(ca), "-verify_return_error", *arguments],
        input="", capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    found = re.findall(r"^(New|Reused), TLSv1\.2, Cipher is ECDHE", done.stdout, re.MULTILINE)
    assert len(found) == 1, done.stdout + done.stderr
    return "resumed" if found == ["Reused"] else "full"


def openssl_pair(issuer: int, redeemer: int, ca: Path, folder: Path,
                 client: tuple[Path, Path] | None = None) -> str:
    """Return ``resumed`` or ``full``: a session of one port, offered to another by s_client."""
    session = str(folder / "session.pem")
    shown = ["-cert", str(client[0]), "-key", str(client[1])] if client else []
    assert _s_client(issuer, ca, "-sess_out", session, *shown) == "full"
    return _s_client(redeemer, ca, "-sess_in", session, *shown)


def tls12_context(ca: Path, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Return an ordinary client context: TLS 1.2, no tickets, perhaps a certificate and its key."""
    context = ssl.create_default_context(cafile=ca)
    if client is not None:
        context.load_cert_chain(*client)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    return context


def python_handshake(context: ssl.SSLContext, port: int,
                     offered: ssl.SSLSession | None = None) -> tuple[str, ssl.SSLSession]:
    """Return ``resumed`` or ``full``, and the session. Raises OSError where nothing comes of it."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    tls = context.wrap_socket(plain, server_hostname="127.0.0.1", session=offered)
    assert tls.version() == "TLSv1.2"
    found, session = "resumed" if tls.session_reused else "full", tls.session
    assert session is not None
    # Without close_notify OpenSSL would take the session for spoilt.
    tls.unwrap().close()
    return found, session


def python_pair(issuer: int, redeemer: int, ca: Path,
                client: tuple[Path, Path] | None = None) -> str:
    """Return ``resumed`` or ``full``: a session of one port, offered to another by Python."""
    context = tls12_context(ca, client)
    found, session = python_handshake(context, issuer)
    assert found == "full"
    found, _ = python_handshake(context, redeemer, session)
    return found


def _relay(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := here.recv(16384):
            there.sendall(data)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)


def _lead(listener: socket.socket, ports: tuple[int, ...]) -> None:
    """Lead the first connection to the first port, the second to the second."""
    for port in ports:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as node:
            back = threading.Thread(target=_relay, args=(node, client))
            back.start()
            _relay(client, node)
            back.join()


@contextlib.contextmanager
def _detour(*ports: int) -> Iterator[int]:
    """Yield a port whose first connection leads to the first port, its second to the second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        leading = threading.Thread(target=_lead, args=(listener, ports))
        leading.start()
        yield listener.getsockname()[1]
        leading.join()


def gnutls_pair(issuer: int, redeemer: int, ca: Path) -> str:
    """Return ``resumed`` or ``full``: a session of one port, offered to another by gnutls-cli.

    ``gnutls-cli --resume`` reconnects to the address it was given and cannot be told another, so
    what it is given is a relay of bytes that leads its second connection elsewhere.
    """
    with _detour(issuer, redeemer) as port:
        done = subprocess.run(
            ["gnutls-cli", "--resume", "--priority",
             "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_TICKETS", "--x509cafile", str(ca),
             "--port", str(port), "127.0.0.1"],
            input="", capture_output=True, text=True, check=False, timeout=3 * TIMEOUT_S)
    assert done.stdout.count("- Handshake was completed") == 1, done.stdout + done.stderr
    assert done.stdout.count("- Resume Handshake was completed") == 1, done.stdout + done.stderr
    # Of a second handshake that is a full one it says nothing in particular.
    return "resumed" if "*** This is a resumed session" in done.stdout else "full"


def process_of(port: int) -> tuple[int, str]:
    """Return pid and owner of the process that listens on a port of loopback."""
    listing = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True,
                             check=True).stdout
    (pid,) = set(re.findall(r"pid=(\d+)", listing))
    owner = subprocess.run(["ps", "-o", "user=", "-p", pid], capture_output=True, text=True,
                           check=True).stdout.strip()
    return int(pid), owner
