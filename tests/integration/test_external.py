"""Somebody else's cluster: what is told first, what is kept to, and what is left nowhere."""
from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.support.gatekeepers import WatchedBroker
from tests.support.playbooks import ROOT, Cluster
from tests.support.strangers import Authority
from tests.support.whole_run import whole_run

RATE = 20
PARALLEL = 4
"""Connections that the module makes side by side."""
AUDIT = '''
import os, sys
_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def _heard(event, arguments):
    if event == "open":
        path = arguments[0] if arguments[2] & _WRITES else None
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.chmod"):
        path = arguments[0]
    elif event in ("os.rename", "os.symlink", "os.link"):
        path = arguments[1]
    else:
        return
    if isinstance(path, (str, bytes, os.PathLike)):
        os.write(_log, os.path.abspath(os.fsencode(path)) + b"\\n")
sys.addaudithook(_heard)
'''
"""For sitecustomize.py: writes down every path that a Python process writes to."""


# -- IPv4 and IPv6 ---------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def ipv6_node(authority: Authority) -> Iterator[WatchedBroker]:
    """A node on ::1 alone."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"there is no ::1 here: {error}")
    pair = authority.issue("server")
    broker = WatchedBroker(pair.cert, pair.key, host="::1")
    yield broker
    broker.stop()


def test_a_node_on_ipv6_alone(
        ipv6_node: WatchedBroker, authority: Authority, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    asked = socket.getaddrinfo

    def resolver(host: str, port: int, **options: Any) -> list[Any]:
        if host != "six.example" or options.get("flags"):
            return asked(host, port, **options)
        # Nobody listens on the first of its addresses.
        return [*asked("127.0.0.1", port, **options), *asked("::1", port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    for host, server_name in (("::1", None), ("six.example", "localhost")):
        results = whole_run([], authority.file, tmp_path / "reports", max_impact="safe", nodes=[
            {"name": "six", "host": host, "port": ipv6_node.port, "server_name": server_name}])
        assert results["verdict"] == "passed"
        assert {row["address"] for row in results["handshakes"].values()} == {"::1"}


def test_an_ipv6_address_that_nobody_listens_on_is_named_in_brackets(
        ipv6_node: WatchedBroker, authority: Authority, tmp_path: Path) -> None:
    ipv6_node.stop()
    results = whole_run([], authority.file, tmp_path / "reports", max_impact="safe", nodes=[
        {"name": "six", "host": "::1", "port": ipv6_node.port}])
    assert f"six ([::1]:{ipv6_node.port}): connection refused" in results["headline"]


# -- one run as by make verify, looked at from all sides -------------------------------------------


@dataclass
class Watched:
    """What was seen of one run."""

    code: int
    output: str
    before_first_connection: str
    results: dict[str, Any]
    report: Path
    brokers: dict[str, WatchedBroker]
    password: str
    ansible_log: Path
    written: set[Path]
    allowed: tuple[Path, ...]
    """Where a run may write."""
    processes: set[bytes] = field(default_factory=set)
    """Command lines and environments of all processes meanwhile."""


@contextlib.contextmanager
def processes() -> Iterator[set[bytes]]:
    """Yield what fills up with command lines and environments."""
    seen: set[bytes] = set()
    done = threading.Event()
    me = str(os.getpid())

    def watch() -> None:
        while not done.wait(0.02):
            for folder in Path("/proc").glob("[0-9]*"):
                if folder.name != me:
                    for name in ("cmdline", "environ"):
                        with contextlib.suppress(OSError):
                            seen.add((folder / name).read_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


def vaulted(password: str, key: str) -> str:
    """Return the password as a YAML value of ansible-vault."""
    vault = VaultLib([("default", VaultSecret(key.encode()))])
    lines = vault.encrypt(password).decode().splitlines()
    return "!vault |\n" + "".join(f"          {line}\n" for line in lines)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """site.yml on two nodes that demand a password, as verbose as it gets."""
    folder = tmp_path_factory.mktemp("external")
    password, vault_key = secrets.token_hex(16), secrets.token_hex(16)
    authority = Authority(folder, "ca")
    pair = authority.issue("server")
    brokers = {name: WatchedBroker(pair.cert, pair.key, password=password)
               for name in ("stage1", "stage2")}
    hosts = "".join(f"        {name}: {{emqx_tls_port: {broker.port}}}\n"
                    for name, broker in brokers.items())
    inventory = folder / "hosts.yml"
    inventory.write_text(f"""
all:
  children:
    emqx:
      hosts:
{hosts}
      vars:
        emqx_driver: external
        emqx_tls_host: 127.0.0.1
        resumption_ca: {authority.file}
        resumption_rate_limit: {RATE}
        resumption_mqtt_username: probe
        resumption_mqtt_password: {vaulted(password, vault_key)}
""")
    (folder / "vault-key").write_text(vault_key)
    home, site = folder / "home", folder / "site"
    home.mkdir()
    site.mkdir()
    (site / "sitecustomize.py").write_text(AUDIT)
    cluster = Cluster("external", [], inventory, folder / "reports")
    output = folder / "output"
    first: list[str] = []
    for broker in brokers.values():
        broker.on_connection = lambda: first.append(output.read_text()) if not first else None
    with output.open("w") as file, processes() as seen:
        done = subprocess.run(
            cluster.command("playbooks/site.yml", "-vvv", "--vault-password-file",
                            str(folder / "vault-key")),
            cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=180,
            env={**cluster.environment(), "HOME": str(home), "PYTHONPATH": str(site),
                 # As the Makefile has it.
                 "PYTHONUNBUFFERED": "1",
                 "PYTHONDONTWRITEBYTECODE": "1", "AUDIT_LOG": str(folder / "audit"),
                 "ANSIBLE_LOG_PATH": str(folder / "ansible.log")})
    yield Watched(
        done.returncode, output.read_text(), first[0] if first else "", cluster.results(),
        (cluster.reports / "latest").resolve(), brokers, password, folder / "ansible.log",
        {Path(os.fsdecode(line)) for line in (folder / "audit").read_bytes().splitlines()},
        (ROOT, folder / "reports", folder / "ansible.log"), seen)
    for broker in brokers.values():
        broker.stop()


def test_it_passes(watched: Watched) -> None:
    assert watched.code == 0, watched.output
    assert "Not contacted: stage1, stage2: the verification will tell" in watched.output
    assert watched.results["headline"] == "4 of 4 pairs as expected"


def test_budget_and_rate_are_told_before_the_first_connection(watched: Watched) -> None:
    told = " ".join(watched.before_first_connection.split())
    nodes = watched.results["budget"]["nodes"]
    (each,) = {node["handshakes_announced"] for node in nodes.values()}
    assert f"Budget: {2 * each} handshakes: {each} with each of stage1, stage2, of which " in told
    assert f"Rate: {RATE} handshakes a second with a node at most (resumption_rate_limit)" in told
    assert "Impact: safe: nothing on any host is changed" in told
    assert "Alerts:" not in told


def test_budget_and_rate_are_kept(watched: Watched) -> None:
    for name, broker in watched.brokers.items():
        budget = watched.results["budget"]["nodes"][name]
        # Counted there.
        assert len(broker.came) == broker.handshakes == budget["handshakes_announced"]
        assert len(broker.came) == budget["handshakes_done"]
        # Those that were sent in turn may be held up on their way, and then come together.
        assert broker.most_in(1.0) <= RATE + PARALLEL
        assert broker.came[-1] - broker.came[0] >= (len(broker.came) - 1 - PARALLEL) / RATE


def test_the_password_is_nowhere(watched: Watched) -> None:
    hidden = watched.password.encode()
    assert any(b"site.yml" in text for text in watched.processes)
    assert not [text for text in watched.processes if hidden in text]
    assert "resumption_verify" in watched.ansible_log.read_text()
    files = [watched.ansible_log, *watched.report.rglob("*"),
             *(file for file in watched.written if file.is_relative_to(ROOT))]
    assert {"results.json", "junit.xml", "summary.md", "index.html"} <= {
        file.name for file in files}
    assert not [file for file in files if file.is_file() and hidden in file.read_bytes()]
    assert watched.password not in watched.output
    assert watched.password not in json.dumps(watched.results)


def test_nothing_is_written_outside_the_checkout_and_the_report(watched: Watched) -> None:
    assert any(path.is_relative_to(watched.report) for path in watched.written)
    # Python itself tries out whether it may write there, or makes a file without a name.
    temporary = Path(tempfile.gettempdir())
    tried_out = {path for path in watched.written if path == temporary or (
        path.parent == temporary and re.fullmatch(r"[a-z0-9_]{8}", path.name))}
    outside = {path for path in watched.written - tried_out
               if not any(path.is_relative_to(allowed) for allowed in watched.allowed)
               and path.parts[:2] not in (("/", "dev"), ("/", "proc"))}
    assert outside == set()
