"""One node: deployed as said, verified with exit 0, and OpenSSL agrees."""
from __future__ import annotations

import getpass
from typing import Any

import outside
import pytest

PORT = outside.BASE_PORT


def test_the_port_is_open_on_loopback_only(host: Any) -> None:
    assert host.socket(f"tcp://127.0.0.1:{PORT}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{PORT}").is_listening


def test_the_node_runs_as_the_user_who_deployed_it() -> None:
    _, owner = outside.process_of(PORT)
    assert owner == getpass.getuser()


@pytest.mark.parametrize(("path", "mode"), [
    ("certs/ca.pem", 0o644), ("certs/server-cert.pem", 0o644), ("certs/client-cert.pem", 0o644),
    ("certs/ca-key.pem", 0o600), ("certs/server-key.pem", 0o600),
    ("certs/client-key.pem", 0o600),
    ("config/molecule-default/emqx1/listeners.hocon", 0o644),
    ("config/molecule-default/emqx1/emqx.conf", 0o644)])
def test_files_and_their_modes(host: Any, path: str, mode: int) -> None:
    file = host.file(str(outside.ROOT / path))
    assert file.is_file
    assert file.mode == mode
    assert file.user == getpass.getuser()


def test_the_rendered_config_states_reuse_sessions(host: Any) -> None:
    text = host.file(str(outside.ROOT / "config/molecule-default/emqx1/listeners.hocon"))
    assert text.contains("reuse_sessions = true")
    assert text.contains('"tlsv1.2"')


def test_no_cookie_on_a_command_line(host: Any) -> None:
    cookies = list((outside.ROOT / ".cluster/molecule-default").rglob("*cookie*"))
    assert cookies
    commands = host.run("ps -eo args").stdout
    for cookie in cookies:
        assert cookie.stat().st_mode & 0o777 == 0o400
        assert cookie.read_text().strip() not in commands


def test_verify_passes_and_openssl_agrees() -> None:
    verification = outside.run_verify()
    assert verification.exit_code == 0, verification.output
    results = verification.results
    assert results["verdict"] == "passed"
    assert [cell["outcome"] for cell in results["matrix"]] == ["resumed"]
    assert results["target"]["product"] == "embedded OTP node (not EMQX)"
    skipped = {row["id"] for row in results["checks"] if row["status"] == "skipped"}
    assert skipped >= {"CORE-03", "CORE-04"}
    assert outside.openssl_reconnects("127.0.0.1", PORT) == ["New", *["Reused"] * 5]
