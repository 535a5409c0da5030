"""SEED.md's own commands, one after the other."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import outside

PORT = outside.BASE_PORT


def test_the_seeds_test_script_resumes(tmp_path: Path) -> None:
    done = subprocess.run(
        ["./tls1.2-resumption-test.sh", f"localhost:{PORT}"], cwd=outside.ROOT, text=True,
        capture_output=True, check=False, timeout=60, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_seeds_files_are_where_it_says() -> None:
    for name in ("ca.pem", "server-cert.pem", "server-key.pem", "client-cert.pem",
                 "client-key.pem"):
        assert (outside.ROOT / "certs" / name).is_file()
    text = (outside.ROOT / "config" / "listeners.hocon").read_text()
    assert 'versions = ["tlsv1.2"]' in text
    assert 'verify = "verify_none"' in text


def test_the_shipped_verification_agrees() -> None:
    verification = outside.run_verify()
    assert verification.exit_code == 0, verification.output
    assert [cell["outcome"] for cell in verification.results["matrix"]] == ["resumed"]
    assert verification.results["target"]["driver"] == "docker"
