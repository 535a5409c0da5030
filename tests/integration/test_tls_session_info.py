"""The module tls_session_info, run by ansible: what it returns, and that it lets no secret out."""
from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emqx.conformance.plugins.modules import tls_session_info

from tests.support.openssl_cli import make_identity, make_session, s_server, sess_id
from tests.support.playbooks import ROOT, Done

MODULE = "emqx.conformance.tls_session_info"


@dataclass(frozen=True)
class Secret:
    """A session file, and all that must not be seen of it."""

    path: Path
    hex: str
    lines: tuple[str, ...]
    """The file's base64."""

    def in_text(self, text: str) -> bool:
        """Tell whether the master secret, or a line of the file, is in a text."""
        return self.hex in text.lower() or any(line in text for line in self.lines)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Secret:
    folder = tmp_path_factory.mktemp("session")
    identity, path = make_identity(folder, "localhost"), folder / "session.pem"
    with s_server("-cert", identity.certificate, "-key", identity.key) as port:
        make_session(path, port, "-tls1_2", "-no_ticket")
    path.chmod(0o600)
    return Secret(path, sess_id(path)["Master-Key"].lower(),
                  tuple(line for line in path.read_text().splitlines()[1:-1] if len(line) > 40))


def ansible(program: str, *arguments: str, log: Path | None = None) -> Done:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [program, "-i", "localhost,", "-c", "local", *arguments], cwd=ROOT, capture_output=True,
        text=True, check=False, timeout=120,
        env={**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
             "NO_COLOR": "1", "COLUMNS": "100", **({"ANSIBLE_LOG_PATH": str(log)} if log else {})})
    return Done(done.returncode, done.stdout + done.stderr)


def ad_hoc(arguments: str, *extra: str, log: Path | None = None) -> Done:
    return ansible("ansible", "localhost", "-m", MODULE, "-a", arguments, *extra, log=log)


def result(done: Done) -> dict[str, Any]:
    """Return what an ad hoc run printed without -v."""
    assert done.code == 0, done.output
    found = re.search(r"SUCCESS => (\{.*?^\})", done.output, re.MULTILINE | re.DOTALL)
    assert found, done.output
    values: dict[str, Any] = json.loads(found[1])
    return values


def tasks(folder: Path, *plays: dict[str, Any]) -> str:
    path = folder / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False,
                                     "tasks": list(plays)}]))
    return str(path)


@pytest.mark.parametrize("mode", [(), ("--check",)])
def test_the_result_is_what_openssl_reads(secret: Secret, mode: tuple[str, ...]) -> None:
    done = ad_hoc(f"path={secret.path}", *mode)
    found, theirs = result(done), sess_id(secret.path)
    assert "WARNING" not in done.output
    assert found["changed"] is False
    assert found["protocol"] == "tlsv1.2"
    assert found["resumes_by"] == "session_id"
    assert found["session_id"].upper() == theirs["Session-ID"]
    assert found["cipher"] == theirs["Cipher"]
    assert found["master_secret"] == {"present": True, "bytes": 48}
    assert set(found) - {"changed"} == set(yaml.safe_load(tls_session_info.RETURN))


def test_by_default_no_secret_is_in_any_output(secret: Secret, tmp_path: Path) -> None:
    log = tmp_path / "ansible.log"
    for done in (ad_hoc(f"path={secret.path}", "-vvv", log=log),
                 ad_hoc(f"path={secret.path}", "-vvvvv", log=log),
                 ansible("ansible-playbook", "-vvv", tasks(
                     tmp_path, {MODULE: {"path": str(secret.path)}, "register": "session"},
                     {"ansible.builtin.debug": {"var": "session"}}), log=log)):
        assert done.code == 0, done.output
        assert '"session_id_bytes": 32' in done.output
        assert not secret.in_text(done.output)
    assert '"session_id_bytes": 32' in log.read_text()
    assert not secret.in_text(log.read_text())


def test_the_secret_is_shown_when_asked_for_and_warned_about(secret: Secret) -> None:
    done = ad_hoc(f"path={secret.path} show_master_secret=true")
    assert result(done)["master_secret"] == {"present": True, "bytes": 48, "hex": secret.hex}
    assert "The result has the master secret in it: set no_log on this task." in done.flat


def test_no_log_keeps_it_from_the_output_and_not_from_the_variable(secret: Secret,
                                                                   tmp_path: Path) -> None:
    log = tmp_path / "ansible.log"
    done = ansible("ansible-playbook", "-vvv", tasks(
        tmp_path,
        {MODULE: {"path": str(secret.path), "show_master_secret": True}, "register": "session",
         "no_log": True},
        {"ansible.builtin.assert": {"that": [
            "session.master_secret.hex | length == 96",
            "session.master_secret.hex | hash('sha256') == expected"], "quiet": True},
         "vars": {"expected": hashlib.sha256(secret.hex.encode()).hexdigest()}}), log=log)
    assert done.code == 0, done.output
    assert "has the master secret in it" not in done.flat
    assert not secret.in_text(done.output)
    assert not secret.in_text(log.read_text())


@pytest.mark.parametrize("asked", [False, True])
def test_no_secret_is_in_the_syslog(secret: Secret, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str], asked: bool) -> None:
    lines: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _, line: lines.append(line))
    monkeypatch.setattr("ansible.module_utils.basic.has_journal", False)
    with patch_module_args({"path": str(secret.path), "show_master_secret": asked}), \
            pytest.raises(SystemExit):
        tls_session_info.main()
    assert (secret.hex in capsys.readouterr().out) is asked
    [line] = lines
    assert f"Invoked with path={secret.path} show_master_secret={asked}" in line
    assert not secret.in_text(line)


def test_a_file_that_others_may_read_is_warned_about(secret: Secret, tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    path.write_bytes(secret.path.read_bytes())
    path.chmod(0o644)
    done = ad_hoc(f"path={path}")
    assert result(done)["resumes_by"] == "session_id"
    assert (f"{path} holds a master secret in clear, and everybody may read it: chmod 600 {path}"
            in done.flat)


def test_what_is_no_session_is_refused_in_one_sentence(secret: Secret, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(secret.path.read_text() * 2)
    certificate = secret.path.parent / "localhost-cert.pem"
    none = tmp_path / "none"
    for path, sentence in {
            both: f"{both} holds 2 sessions: keep one session in a file.",
            certificate: f"{certificate} holds a certificate and no session.",
            tmp_path: f"{tmp_path} is no regular file.",
            none: f"{none} does not exist; openssl s_client -sess_out writes no file when the "
                  "server gave it no session."}.items():
        done = ad_hoc(f"path={path}", "-vvv")
        assert done.code == 2, done.output
        assert json.dumps(sentence) in done.output
        assert "Traceback" not in done.output
        assert not secret.in_text(done.output)
