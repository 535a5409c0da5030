"""Independent agreement: other tools are asked the same questions about the same servers.

What this project says about a server must be what ``openssl s_client``, ``gnutls-cli`` and
``sslyze`` say, except where :data:`EXPLAINED` says why not; docs/agreement.md shows all answers.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faulty_servers.message_server import MessageServer
from tests.support import peers
from tests.support.embedded_cluster import TestCluster
from tests.support.gnutls_broker import GnuTlsBroker
from tests.support.openssl_cli import make_identity
from tests.support.peers import Answers, Asked
from tests.support.playbooks import ROOT
from tests.support.ports import free_ports
from tests.support.s_server_broker import SServerBroker

OTP = "embedded OTP node"
OTP_WITHOUT = "embedded OTP node, reuse_sessions = false"
TLSLITE = "tlslite-ng messages"
S_SERVERS = {"openssl s_server": (), "openssl s_server -ignore_unexpected_eof":
             ("-ignore_unexpected_eof",), "openssl s_server -no_cache": ("-no_cache",),
             "openssl s_server -no_cache -no_ticket": ("-no_cache", "-no_ticket")}
GNUTLS = "GnuTLS library"
SERVERS = (OTP, OTP_WITHOUT, *S_SERVERS, GNUTLS, TLSLITE)
US, S_CLIENT, GNUTLS_CLI, SSLYZE = "this project", "openssl s_client", "gnutls-cli", "sslyze"


@dataclass(frozen=True)
class Explained:
    """A disagreement whose cause is known."""

    server: str
    tool: str
    question: str
    says: str
    why: str


EXPLAINED = (
    Explained("openssl s_server", SSLYZE, peers.RESUMES, "no",
              "sslyze closes TCP without a close_notify. OpenSSL 3 takes that for a truncation, "
              "answers with the fatal alert decode_error and forgets the session, so that there "
              "is nothing left to resume. With -ignore_unexpected_eof, and nothing else changed, "
              "sslyze says yes too. This project closes with close_notify, as RFC 5246 7.2.1 "
              "demands."),)


@dataclass(frozen=True)
class Running:
    """All servers, and a second embedded node."""

    servers: dict[str, Asked]
    other: Asked


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory,
            certificate: tuple[Path, Path]) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("agreement")
    ca = certificate[0]
    with contextlib.ExitStack() as stack:
        servers = {}
        ports = free_ports(3)
        cluster = TestCluster(folder, certificate, {"n1": ports[0], "n2": ports[1]})
        cluster.render("n1", cluster.listener(ports[0]),
                       cluster.listener(ports[2], name="without", reuse="false"))
        cluster.render("n2")
        stack.callback(cluster.destroy)
        cluster.deploy()
        servers[OTP], servers[OTP_WITHOUT] = Asked(ports[0], ca), Asked(ports[2], ca)
        for name, options in S_SERVERS.items():
            s_server = SServerBroker(*certificate, *options)
            stack.callback(s_server.stop)
            servers[name] = Asked(s_server.port, ca)
        gnutls = GnuTlsBroker(*certificate)
        stack.callback(gnutls.stop)
        servers[GNUTLS] = Asked(gnutls.port, ca)
        rsa = make_identity(folder, "localhost")
        tlslite = MessageServer(rsa.certificate, rsa.key)
        stack.callback(tlslite.stop)
        servers[TLSLITE] = Asked(tlslite.port, rsa.certificate)
        yield Running(servers, Asked(ports[1], ca))


@pytest.fixture(scope="module")
def ours(running: Running) -> dict[str, Answers]:
    return {name: peers.ask_us(asked) for name, asked in running.servers.items()}


@pytest.fixture(scope="module")
def theirs(running: Running,
           tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Answers]]:
    """By tool, and then by server."""
    folder = tmp_path_factory.mktemp("answers")

    def each(ask: Callable[[Asked], Answers]) -> dict[str, Answers]:
        return {name: ask(asked) for name, asked in running.servers.items()}

    found = {S_CLIENT: each(lambda asked: peers.ask_s_client(asked, folder)),
             GNUTLS_CLI: each(peers.ask_gnutls_cli)}
    if peers.SSLYZE.exists():
        found[SSLYZE] = peers.ask_sslyze(running.servers, folder)
    return found


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("tool", [S_CLIENT, GNUTLS_CLI, SSLYZE])
def test_the_tools_agree(ours: dict[str, Answers], theirs: dict[str, dict[str, Answers]],
                         tool: str, server: str) -> None:
    if tool not in theirs:
        pytest.skip("sslyze is not there: make test puts it into .venv-peers")
    answers = theirs[tool][server]
    explained = {one.question: one.says for one in EXPLAINED
                 if (one.server, one.tool) == (server, tool)}
    expected = {question: explained.get(question, ours[server].get(question))
                for question in answers}
    assert answers == expected
    # An explanation of what is no disagreement is stale.
    assert not any(ours[server].get(question) == says for question, says in explained.items())


def test_the_tools_agree_across_nodes(running: Running, tmp_path: Path) -> None:
    issuer = running.servers[OTP]
    ours = peers.ask_us(issuer, running.other)
    assert ours[peers.RESUMES] == "no"
    assert peers.ask_s_client(issuer, tmp_path, running.other) == ours


def _block(ours: dict[str, Answers], theirs: dict[str, dict[str, Answers]]) -> str:
    """Return the tables of docs/agreement.md."""
    notes = {(one.server, one.question): number for number, one in enumerate(EXPLAINED, 1)}
    rows = ["| server | " + " | ".join(peers.QUESTIONS) + " |",
            "|---" * (len(peers.QUESTIONS) + 1) + "|"]
    for server, answers in ours.items():
        cells = (answers.get(question, "n/a") + (
            f" [{notes[server, question]}]" if (server, question) in notes else "")
            for question in peers.QUESTIONS)
        rows.append(f"| {server} | {' | '.join(cells)} |")
    rows += ["", "| tool | answers | the same as this project's | otherwise, explained |",
             "|---|---|---|---|"]
    for tool, by_server in theirs.items():
        pairs = [(answer, ours[server].get(question)) for server, answers in by_server.items()
                 for question, answer in answers.items()]
        same = sum(answer == our for answer, our in pairs)
        rows.append(f"| {tool} | {len(pairs)} | {same} | {len(pairs) - same} |")
    rows += ["", *(f"[{number}] {one.tool} says {one.says}: {one.why}"
                   for number, one in enumerate(EXPLAINED, 1))]
    return "\n".join(rows)


def test_agreement_md_shows_the_answers(ours: dict[str, Answers],
                                        theirs: dict[str, dict[str, Answers]]) -> None:
    if SSLYZE not in theirs:
        pytest.skip("sslyze is not there: make test puts it into .venv-peers")
    block = _block(ours, theirs)
    shown = (ROOT / "docs" / "agreement.md").read_text().partition("<!-- answers -->\n")[2]
    assert shown.partition("\n<!-- end -->")[0] == block, \
        f"put this between the marks in docs/agreement.md:\n{block}"
