"""reuse_sessions: what Erlang/OTP does where EMQX tells it nothing."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.reuse import (
    installed_ssl,
    off_unless_told,
)


@pytest.mark.parametrize(("ssl", "off"), [
    ("10.8.7", False), ("11.1.4.13", False), ("11.2.12.11", False), ("11.2.12.12", True),
    ("11.2.13", True), ("11.3.2", False), ("11.5.4", False), ("11.6", False), ("11.6.0.4", False),
    ("11.6.0.5", True), ("11.6.1", True), ("11.7.4", False), ("11.7.5", True), ("11.7.8", True),
    ("11.8", True), ("12.0", True), ("unknown", None), (None, None),
])
def test_the_ssl_application_decides(ssl: str | None, off: bool | None) -> None:
    assert off_unless_told(ssl=ssl) is off


@pytest.mark.parametrize(("otp", "off"), [
    ("24", False), ("25.2.3", False), ("26", False), ("27", None), ("27.3.4", None), ("28", None),
    ("29.0", False), ("29.0.5", False), ("29.0.6", True), ("29.1.2", True), ("29", True),
    ("30", True), (None, None),
])
def test_or_else_the_otp_release(otp: str | None, off: bool | None) -> None:
    assert off_unless_told(otp=otp) is off
    assert off_unless_told(otp=otp, ssl="unknown") is off


def test_the_ssl_application_outranks_the_release() -> None:
    assert off_unless_told(otp="29", ssl="11.7.4") is False
    assert off_unless_told(otp="27", ssl="11.2.12.12") is True


def test_the_installed_version_is_read_without_starting_erlang(tmp_path: Path) -> None:
    root = tmp_path / "lib" / "erlang"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "erl").touch()
    (tmp_path / "erl").symlink_to(root / "bin" / "erl")
    erl = str(tmp_path / "erl")
    assert installed_ssl(erl) is None
    for version in ("11.7.8", "11.7.10", "x"):
        (root / "lib" / f"ssl-{version}").mkdir(parents=True)
    assert installed_ssl(erl) == "11.7.10"


@pytest.mark.skipif(shutil.which("erl") is None, reason="Erlang is not installed")
def test_of_this_machine_it_is_found() -> None:
    erl = shutil.which("erl")
    assert erl is not None
    assert off_unless_told(ssl=installed_ssl(erl)) is not None
