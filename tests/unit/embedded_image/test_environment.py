"""EMQX's environment variables in a container."""
from __future__ import annotations

from typing import Any

import pytest
from embedded_image.environment import overlaid, overrides


@pytest.mark.parametrize(("text", "meant"), [
    ("emqx@node1.example", "emqx@node1.example"),
    ('"emqx@node1.example"', "emqx@node1.example"),
    ("[emqx@a.example,emqx@b.example]", ["emqx@a.example", "emqx@b.example"]),
    ('["emqx@a.example", "emqx@b.example"]', ["emqx@a.example", "emqx@b.example"]),
    ("emqx@a.example, emqx@b.example", "emqx@a.example, emqx@b.example"),
    ("true", True), ("18083", 18083), ("0.0.0.0:8883", "0.0.0.0:8883"), ("15s", 15_000),
    ("[tlsv1.2]", ["tlsv1.2"]), ("{bind = 8884}", {"bind": 8884}),
    # What is no HOCON is a string.
    ("p@ss{word", "p@ss{word"), ('half "quoted', 'half "quoted'), ("$5", "$5"), ("a = b", "a = b"),
    ("1\nother = 2", "1\nother = 2"),
])
def test_values(text: str, meant: Any) -> None:
    assert overrides({"EMQX_A__B": text}) == {("a", "b"): meant}


def test_paths_are_lower_case_and_others_are_no_business_of_ours() -> None:
    assert overrides({"EMQX_LISTENERS__SSL__default__ENABLE": "false", "PATH": "/bin",
                      "EMQXX__A": "1", "EMQX_EMPTY__B": ""}) == {
        ("listeners", "ssl", "default", "enable"): False}


@pytest.mark.parametrize(("environment", "name"), [
    ({"EMQX_NODE__NAME": "emqx@a.example"}, "emqx@a.example"),
    ({"EMQX_NODE_NAME": "emqx@a.example"}, "emqx@a.example"),
    # EMQX's start script copies the old spelling over the new one.
    ({"EMQX_NODE_NAME": "emqx@a.example", "EMQX_NODE__NAME": "emqx@b.example"}, "emqx@a.example"),
    ({"EMQX_HOST": "172.17.0.2"}, "emqx@172.17.0.2"),
    ({"EMQX_NAME": "mine", "EMQX_HOST": "a.example"}, "mine@a.example"),
    ({"EMQX_HOST": "172.17.0.2", "EMQX_NODE__NAME": "emqx@a.example"}, "emqx@a.example"),
])
def test_the_name(environment: dict[str, str], name: str) -> None:
    assert overrides(environment) == {("node", "name"): name}


def test_the_environment_wins_over_the_file_and_leaves_the_rest() -> None:
    file = {"listeners": {"ssl": {"default": {"bind": 8883, "acceptors": 4}}},
            "node": {"name": "x"}, "log": {}}
    values = {("listeners", "ssl", "default", "bind"): 8884, ("node",): {"cookie": "c"},
              ("cluster", "static", "seeds"): ["emqx@a.example"]}
    assert overlaid(file, values) == {
        "listeners": {"ssl": {"default": {"bind": 8884, "acceptors": 4}}}, "log": {},
        "node": {"name": "x", "cookie": "c"}, "cluster": {"static": {"seeds": ["emqx@a.example"]}}}
    assert file["listeners"] == {"ssl": {"default": {"bind": 8883, "acceptors": 4}}}


def test_an_object_takes_the_place_of_a_value() -> None:
    assert overlaid({"a": 1}, {("a", "b"): 2}) == {"a": {"b": 2}}
