"""The guard beside EMQX's own schema, and what real nodes then did.

``tests/data/emqx_accepts.jsonl`` has one mapping a line, with what the schema of each of three
releases says and, for some, what became of a node's listeners.
"""
from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.complete import (
    Certificates,
    ConfiguredNode,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.validate import (
    Checked,
    check_node,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ROWS = [json.loads(line) for line in (
    Path(__file__).parents[2] / "data/emqx_accepts.jsonl").read_text("utf-8").splitlines()]
RELEASES = ("5.3.2", "5.8.9", "5.10.2")
LABELS = {row["label"] for row in ROWS}

REFUSED_ALL_THE_SAME = {
    "reuse_sessions=None": "EMQX's releases differ in the default, so it is always stated",
    "access_rules=['ALLOW all']": "a rule that never matches on 5.3.2, refused from 5.7 on",
    "path EMQX_ETC_DIR": "no file of this machine, and the embedded node has no such folder",
    "handshake_timeout=0": "with 0s, of which it is another spelling, every handshake failed",
}
"""What EMQX takes, and why the guard does not."""

SERVES_OTHERS = {
    "wss verify_peer": "whoever asked had no client certificate",
    "two ssl listeners": "whoever asked had a client certificate of one of the two CAs",
    "access_rules=['allow 10.0.0.1, deny all']": "whoever asked had another address",
}
"""Listeners that are as they were meant, although the client that asked was not served."""

AT_RUN_TIME = re.compile(r"\bboots?\b")


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what the rows name under ``{certs}``, and the empty ``{folder}`` in it."""
    folder = tmp_path_factory.mktemp("accepts")
    ca, server, client = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    for name in ("ca.pem", "clientca1.pem", "clientca2.pem"):
        (folder / name).write_bytes(_certificate(ca))
    for name in ("server.pem", "odd dir é'/ser\"ver.pem", "${X}/server.pem", "%41.pem"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(_certificate(server))
    (folder / "server.key").write_bytes(_key(server))
    (folder / "client1.key").write_bytes(_key(client))
    (folder / "passphrase").write_text("secret")
    (folder / "folder").mkdir()
    return folder


def _key(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "accepts")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name) \
        .public_key(key.public_key()).serial_number(1) \
        .not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=3650))
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _filled(value: Any, certs: Path) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, certs) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, certs) for item in value]
    if isinstance(value, str):
        return value.replace("{certs}", str(certs)).replace("{folder}", str(certs / "folder"))
    return value


def _checked(row: dict[str, Any], release: str, certs: Path) -> Checked:
    paths = (str(certs / name) for name in ("ca.pem", "server.pem", "server.key"))
    node = ConfiguredNode("emqx1", "127.0.0.1", 30883, _filled(row["emqx_listeners"], certs),
                          Certificates(*paths))
    return check_node(node, parse_release(release))


def _fails(row: dict[str, Any]) -> bool:
    """Tell whether some release did not boot with it, or refused a client's handshake."""
    return any(done == "does not boot" or "TLS fails" in done.values()
               for done in row.get("node", {}).values())


@pytest.mark.parametrize("release", RELEASES)
def test_what_emqx_refuses_is_refused(certs: Path, release: str) -> None:
    assert [row["label"] for row in ROWS
            if row["schema"][release] != "ok" and not _checked(row, release, certs).errors] == []


@pytest.mark.parametrize("release", RELEASES)
def test_what_emqx_takes_is_taken_unless_nothing_comes_of_it(certs: Path, release: str) -> None:
    refused = {row["label"]: _checked(row, release, certs).errors
               for row in ROWS if row["schema"][release] == "ok" and not _fails(row)}
    assert {label: errors for label, errors in refused.items()
            if errors and label not in REFUSED_ALL_THE_SAME} == {}


@pytest.mark.parametrize("release", RELEASES)
def test_a_refusal_of_what_emqx_takes_says_what_comes_of_it(certs: Path, release: str) -> None:
    unexplained = {row["label"]: errors
                   for row in ROWS if row["schema"][release] == "ok" and _fails(row)
                   if (errors := _checked(row, release, certs).errors)
                   and not any(AT_RUN_TIME.search(error) for error in errors)}
    assert unexplained == {}


@pytest.mark.parametrize("release", RELEASES)
def test_no_listener_that_serves_nobody_passes_unnamed(certs: Path, release: str) -> None:
    silent = [row["label"] for row in ROWS
              if row["schema"][release] == "ok" and _fails(row)
              and row["label"] not in SERVES_OTHERS
              if not (checked := _checked(row, release, certs)).errors and not checked.warnings]
    assert silent == []


def test_every_exception_is_one(certs: Path) -> None:
    by_label = {row["label"]: row for row in ROWS}
    assert all(any(_checked(by_label[label], release, certs).errors for release in RELEASES)
               for label in REFUSED_ALL_THE_SAME)
    assert all(_fails(by_label[label]) for label in SERVES_OTHERS)


def test_the_whole_file_is_read() -> None:
    assert len(ROWS) == len(LABELS) == 543
