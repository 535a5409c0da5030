"""The commands in docs/sessions.md do what the document says, as they stand there."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.openssl_cli import make_session, s_server
from tests.support.playbooks import ROOT, Cluster

DOCUMENT = (ROOT / "docs" / "sessions.md").read_text()
CERTS = ROOT / "certs"
RESUMED, FULL = "Reused", "New"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def said(block: str) -> str:
    """Return the output that the document shows right after a block of commands."""
    after = DOCUMENT.partition(block)[2].partition("```\n")[2]
    shown = re.match(r"\n((?: {4}.*\n)+)", after)
    assert shown
    return re.sub(r"^ {4}", "", shown[1], flags=re.MULTILINE)


def bash(script: str, ports: tuple[int, int], cwd: Path = ROOT) -> str:
    for documented, port in zip(("8883", "8884"), ports):
        script = script.replace(f"localhost:{documented}", f"localhost:{port}")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], cwd=cwd, capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["embedded nodes", "s_server"])
def ports(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[tuple[int, int]]:
    """Ports of two servers that share no sessions."""
    if request.param == "embedded nodes":
        yield cluster.ports[0], cluster.ports[1]
        return
    server = ("-cert", CERTS / "server-cert.pem", "-key", CERTS / "server-key.pem")
    with s_server(*server) as first, s_server(*server) as second:
        yield first, second


def test_the_commands_print_what_the_document_says(ports: tuple[int, int]) -> None:
    make, look, resume, elsewhere, delete = blocks("bash")
    # Between the blocks: where one's output ends, and what is true of the file then.
    between = '\nstat -c "mode %a" "$session"\necho ---\n'
    output = bash(between.join((make, look, resume, elsewhere)) + delete
                  + 'test ! -e "$session" && echo "gone"', ports)
    made, looked, resumed, both = output.split("mode 600\n---\n")
    assert made == said(make)
    assert resumed == said(resume)
    assert both == said(elsewhere) + "gone\n"
    assert "Master-Key: (not shown)" in looked
    assert "Verify return code: 0 (ok)" in looked
    assert not re.search(r"\b[0-9A-F]{96}\b", output)


def test_every_field_that_openssl_prints_is_in_the_table(ports: tuple[int, int]) -> None:
    make, look = blocks("bash")[:2]
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE)
    table = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    for script in (make, make.replace(" -no_ticket", "")):
        printed = bash(f'{script}\n{look}\nrm "$session"', ports)
        names = {line.partition(":")[0].strip() for line in printed.splitlines()
                 if ":" in line and not re.match(r" +[0-9a-f]{4} - ", line)}
        assert names - {"SSL-Session"} <= table
        assert {"Session-ID", "Timeout", "Extended master secret"} <= names
        assert "Key-Arg" not in printed


VOLATILE = {"expires_at", "started_at", "session_id", "serial", "sha256", "not_after", "issuer"}


def stable(values: dict[str, Any]) -> dict[str, Any]:
    """Replace what differs from session to session by the form it has."""
    return {name: stable(value) if isinstance(value, dict)
            else re.sub(r"[0-9a-fA-F]", "x", value)[:7] if name in VOLATILE else value
            for name, value in values.items()}


def test_the_module_returns_what_the_document_shows(cluster: Cluster, tmp_path: Path) -> None:
    [shown] = blocks("json")
    [play] = blocks("yaml")
    make = blocks("bash")[0].replace('session=$(mktemp)', f"session={tmp_path}/session.pem; "
                                                          "umask 077")
    bash(make, (cluster.ports[0], 0))
    (tmp_path / "play.yml").write_text(play)
    command = re.search(r"^ {4}(ansible localhost .*)$", DOCUMENT, re.MULTILINE)
    assert command
    output = bash(command[1].replace("$session", f"{tmp_path}/session.pem"), (0, 0))
    assert stable(json.loads(output.partition("=> ")[2])) == stable(json.loads(shown))
    output = bash(f"ANSIBLE_CONFIG={ROOT}/ansible.cfg ansible-playbook -i localhost, play.yml",
                  (0, 0), cwd=tmp_path)
    assert "ok=2" in output


# --- What the document says of the traps -------------------------------------------------------

def offer(path: Path, port: int) -> tuple[str, int]:
    """Offer a session and return s_client's first word on it, and its exit status."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"localhost:{port}", "-tls1_2",
                           "-no_ticket", "-sess_in", str(path)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, timeout=30)
    [line] = re.findall(r"^(New|Reused), TLSv1.2, Cipher is ECDHE", done.stdout, re.MULTILINE)
    return line, done.returncode


def test_a_client_that_ends_without_close_notify(ports: tuple[int, int], tmp_path: Path,
                                                 request: pytest.FixtureRequest) -> None:
    path, port = tmp_path / "session.pem", ports[0]
    with subprocess.Popen(["openssl", "s_client", "-connect", f"localhost:{port}", "-tls1_2",
                           "-no_ticket", "-sess_out", str(path)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        until = time.monotonic() + 10
        while not (path.exists() and "-----END" in path.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        client.kill()
        client.communicate()
    # A server on OpenSSL forgets when it sees the end, which may take it a moment.
    expected = RESUMED if "embedded" in request.node.callspec.id else FULL
    until = time.monotonic() + 5
    while offer(path, port) != (expected, 0):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_fatal_alert_leaves_the_file_good_and_still_prints_new(cluster: Cluster,
                                                                 tmp_path: Path) -> None:
    path, port = tmp_path / "session.pem", cluster.ports[0]
    make_session(path, port, "-tls1_2", "-no_ticket")
    with s_server("-cert", CERTS / "server-cert.pem", "-key", CERTS / "server-key.pem",
                  "-tls1_3") as refuses:
        assert offer(path, refuses) == (FULL, 1)
        resume = blocks("bash")[2]
        assert bash(f"session={path}\n{resume}", (refuses, 0)).endswith("\nno handshake\n")
    assert offer(path, port) == (RESUMED, 0)


def test_a_ticket_is_no_session_id(tmp_path: Path, cluster: Cluster) -> None:
    """Made with a ticket, offered without: the ID in the file is none that the server knows."""
    path = tmp_path / "session.pem"
    with s_server("-cert", CERTS / "server-cert.pem", "-key", CERTS / "server-key.pem") as port:
        make_session(path, port, "-tls1_2")
        assert offer(path, port) == (FULL, 0)


def test_a_server_without_cache_gives_no_session(tmp_path: Path, cluster: Cluster) -> None:
    make = blocks("bash")[0]
    with s_server("-cert", CERTS / "server-cert.pem", "-key", CERTS / "server-key.pem",
                  "-no_cache") as port:
        output = bash(f'{make}\nstat -c "%s bytes" "$session"; rm "$session"', (port, 0))
    assert output == said(make) + "0 bytes\n"
