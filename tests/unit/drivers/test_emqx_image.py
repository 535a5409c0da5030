"""What the docker driver relies on in EMQX's image: names, environment, answers of its tool."""
from __future__ import annotations

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker import emqx_image
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker.emqx_image import (
    ContainerSettings,
)


def test_node_names_are_long_and_dns_can_hold_them() -> None:
    assert emqx_image.node_name("docker", "emqx1") == "emqx@emqx1.docker.internal"


def test_names_that_dns_would_confuse_stay_apart() -> None:
    nodes = ("a_b", "a.b", "a-b", "A-B", "_", "x" * 63)
    names = {emqx_image.host_name("c", node) for node in nodes}
    assert len(names) == 6
    for name in names:
        for label in name.split("."):
            assert 0 < len(label) < 64
            assert label.strip("-") == label
            assert label == label.lower()
            assert "_" not in label


def test_the_environment_of_a_node() -> None:
    assert emqx_image.environment("c", "b", ("a", "b"), ContainerSettings(
        "cookie", 300, 20000, "admin", "key", "5.10.2")) == {
        "EMQX_NODE_NAME": "emqx@b.c.internal", "EMQX_NODE__NAME": "emqx@b.c.internal",
        "EMQX_NODE__COOKIE": "cookie", "EMQX_CLUSTER__DISCOVERY_STRATEGY": "static",
        "EMQX_CLUSTER__STATIC__SEEDS": "[emqx@a.c.internal,emqx@b.c.internal]",
        "EMQX_DASHBOARD__DEFAULT_PASSWORD": "admin", "EMQX_LICENSE__KEY": "key",
        "ERL_FLAGS": "-ssl session_lifetime 300 -ssl session_cache_server_max 20000",
        # No EMQX_…: EMQX would take it for a key of its configuration.
        "CONFORMANCE_EMQX_RELEASE": "5.10.2"}


def test_what_is_not_set_is_not_there() -> None:
    variables = emqx_image.environment("c", "a", ("a",), ContainerSettings("cookie"))
    assert not {"EMQX_LICENSE__KEY", "EMQX_DASHBOARD__DEFAULT_PASSWORD", "ERL_FLAGS",
                "CONFORMANCE_EMQX_RELEASE"} & set(variables)


@pytest.mark.parametrize(("answer", "nodes"), [
    # Erlang breaks the lines of a longer term and quotes what is no plain atom.
    (("Cluster status: #{running_nodes =>\n                      ['emqx@a.c.internal',\n"
      "                       'emqx@b.c.internal'],\n                  stopped_nodes => []}"),
     ["emqx@a.c.internal", "emqx@b.c.internal"]),
    (("Cluster status: #{running_nodes => ['emqx@a.c.internal'],\n"
      "                  stopped_nodes => ['emqx@b.c.internal']}"), ["emqx@a.c.internal"]),
    ("Cluster status: #{stopped_nodes => [],running_nodes => ['emqx@127.0.0.1']}",
     ["emqx@127.0.0.1"]),
    ("Cluster status: #{running_nodes => [],stopped_nodes => []}", []),
    ("Node emqx@127.0.0.1 not responding to pings.", None),
    ("", None),
])
def test_the_members_that_a_node_sees(answer: str, nodes: list[str] | None) -> None:
    assert emqx_image.running_nodes(answer) == nodes


def test_product_and_version() -> None:
    answer = ("sysdescr  : EMQX Enterprise\nversion   : 5.8.9\n"
              "datetime  : 2026-11-24T13:00:00.000000000+00:00\nuptime    : 12 seconds\n")
    assert emqx_image.broker(answer) == {"sysdescr": "EMQX Enterprise", "version": "5.8.9"}
    assert emqx_image.broker("Node is not running!") == {}


@pytest.mark.parametrize(("answer", "release"), [
    ('"26"', "26"), ('"27"\n', "27"), ("26", "26"), ("WARNING: something\n\"25\"\n", "25"),
    ("", None), ("{error,badrpc}", None), ("port 18083", None)])
def test_the_otp_release(answer: str, release: str | None) -> None:
    assert emqx_image.otp_release(answer) == release
