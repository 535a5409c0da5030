"""The next release in the inventory: what it makes of the listeners, and every refusal."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.inventory.test_inventory import checked, refusal

GIVEN = {"emqx_release": "5.8.9", "emqx_next_release": "5.10.2"}
ONE = {"emqx1": {"emqx_tls_port": 8883}}
LOCAL = {"emqx_driver": "docker", "emqx_image": "embedded-otp-node:otp27"}
MTLS = {"ssl": {"default": {"ssl_options": {"verify": "verify_peer"}}}}


def both(group: Mapping[str, Any]) -> list[tuple[str, str, bool | None]]:
    """Return release, Erlang/OTP and whether the one listener resumes, today and then."""
    result = checked(group, hosts=ONE)
    return [(row["release"], row["erlang"], row["resumes"]) for row in (
        *result["ssl_listeners"], *result["next_ssl_listeners"])]


def test_without_a_next_release_there_is_nothing_to_upgrade_to() -> None:
    result = checked()
    assert result["next_ssl_listeners"] == []
    assert [row["name"] for row in result["ssl_listeners"]] == ["emqx1/default", "emqx2/default"]


def test_a_listener_is_said_as_it_is_reached_and_asked() -> None:
    result = checked({
        **GIVEN, "emqx_driver": "docker", "emqx_image": "embedded-otp-node:otp25",
        "emqx_listeners": {"ssl": {
            "plain": {"bind": 9001, "ssl_options": {"reuse_sessions": False}},
            "plant": {"bind": 9002, "ssl_options": {"verify": "verify_peer"}},
            "off": {"enable": False},
            "new": {"bind": 9003, "ssl_options": {"versions": ["tlsv1.3"]}},
            "proxied": {"bind": 9004, "proxy_protocol": True}}}}, hosts=ONE)
    rows = {row["listener"]: row for row in result["ssl_listeners"]}
    assert set(rows) == {"default", "plain", "plant", "new", "proxied"}
    assert {name: (row["port"], row["reuse_sessions"], row["stated"], row["verify_peer"])
            for name, row in rows.items() if not row["why_not"]} == {
        "default": (8883, True, False, False), "plain": (9001, False, True, False),
        "plant": (9002, True, False, True)}
    assert "TLS 1.2" in rows["new"]["why_not"]
    assert "PROXY protocol" in rows["proxied"]["why_not"]


def test_local_images_have_the_erlang_of_their_tag() -> None:
    given = {**GIVEN, **LOCAL, "emqx_image": "embedded-otp-node:otp25", "emqx_listeners": MTLS}
    assert both(given) == [("5.8.9", "Erlang/OTP 25", True), ("5.10.2", "Erlang/OTP 25", True)]
    assert both({**given, "emqx_next_image": "embedded-otp-node:otp29"}) == [
        ("5.8.9", "Erlang/OTP 25", True), ("5.10.2", "Erlang/OTP 29", False)]


def test_emqx_has_the_erlang_that_it_is_built_with() -> None:
    assert both({"emqx_driver": "docker", "emqx_image": "emqx/emqx:5.8.9",
                 "emqx_next_release": "6.2.0", "emqx_next_image": "emqx/emqx:6.2.0",
                 "emqx_listeners": MTLS}) == [
        ("5.8.9", "Erlang/OTP 26", True), ("6.2.0", "Erlang/OTP 28", True)]


def test_what_is_given_on_the_command_line_is_today() -> None:
    result = checked(GIVEN, hosts=ONE, given={"emqx_release", "emqx_next_release"})
    assert [result[key][0]["release"] for key in ("ssl_listeners", "next_ssl_listeners")] == [
        "5.8.9", "5.10.2"]


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"emqx_next_release": "5.ten"},
     ('emqx_next_release (set for emqx1): "5.ten" is not an EMQX release such as 5.8.9.')),
    ({"emqx_next_release": "5.8.9"},
     ("emqx_next_release (set for emqx1) is 5.8.9, the release that runs today: name the one you "
      "upgrade to.")),
    ({"emqx_next_release": "5.3.2"},
     ("emqx_next_release (set for emqx1) is 5.3.2, which is older than today's 5.8.9: name the one "
      "you upgrade to.")),
    ({"emqx_driver": "external"},
     ("emqx_next_release (set for emqx1) is for nodes that are deployed from here, and emqx_driver "
      "is external: verify before your upgrade and after it, with resumption_compare.")),
    ({"emqx_driver": "docker"},
     ("emqx_next_image of emqx1 is missing: emqx/emqx:5.8.9 is EMQX 5.8.9, so name the image of "
      "EMQX 5.10.2.")),
    ({"emqx_driver": "docker", "emqx_next_image": "emqx/emqx:5.9.0"},
     ("After the upgrade to emqx_next_release 5.10.2: emqx_release is 5.10.2, but emqx_image is "
      "emqx/emqx:5.9.0: leave emqx_release out or make them agree.")),
    ({"emqx_listeners": {"ssl": {"default": {"limiter": {}}}}},
     ("After the upgrade to emqx_next_release 5.10.2: listeners.ssl.default.limiter: unknown to "
      "EMQX 5.10.2, which would not boot (known from 5.0.0 until before 5.9.0).")),
])
def test_refusals(changed: Mapping[str, Any], sentence: str) -> None:
    assert refusal({**GIVEN, **changed}, hosts=ONE) == sentence


def test_a_cluster_may_need_a_licence_after_the_upgrade() -> None:
    assert "After the upgrade to emqx_next_release 5.10.2: emqx_license is missing" in refusal(
        {**GIVEN, **LOCAL})
