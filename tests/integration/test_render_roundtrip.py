"""Whatever goes into listeners.hocon.j2 comes back out of two HOCON parsers."""
from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pyhocon
import pytest
from ansible.plugins.filter.core import FilterModule
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
Render = Callable[[Mapping[str, Any]], str]
Parse = Callable[[str], Any]


def _template(name: str) -> jinja2.Template:
    """Load a template as ansible.builtin.template does, without a play around it."""
    environment = jinja2.Environment(  # noqa: S701 - HOCON, not HTML
        loader=jinja2.FileSystemLoader(ROOT / "templates"), trim_blocks=True,
        keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters["to_json"] = FilterModule().filters()["to_json"]
    return environment.get_template(name)


@pytest.fixture(scope="module")
def render() -> Render:
    template = _template("listeners.hocon.j2")
    return lambda mapping: template.render(emqx_listeners_rendered=mapping)


@pytest.fixture(scope="module")
def ruby() -> Iterator[Parse]:
    """Debian's ruby-hocon, one process for all examples."""
    process = subprocess.Popen(
        ["ruby", str(ROOT / "tests/support/hocon_to_json.rb")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, encoding="utf-8")

    def parse(document: str) -> Any:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(document) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield parse
    process.communicate(timeout=10)


# What listeners/kinds.py lets through: EMQX's scanner has no \uXXXX, and keys begin with a letter.
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc"),
                              blacklist_characters="\u2028\u2029"))
KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,12}", fullmatch=True).filter(
    lambda key: key not in {"true", "false", "null", "include"})
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(-2**31, 2**31),
                    st.sampled_from(["15s", "1h30m", "500ms", "4KB", "1MB", "infinity", "true",
                                     "127.0.0.1:8883", "${HOME}", "a # b", "// c", 'say "x"',
                                     "back\\slash", "include", "null", "dépôt", "日本", "a\tb"]))
# pyhocon drops empty strings from lists; no list that EMQX knows may hold one.
VALUES = st.recursive(SCALARS, lambda below: st.one_of(
    st.lists(below.filter(lambda item: item != ""), max_size=4),
    st.dictionaries(KEYS, below, max_size=4)), max_leaves=12)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=4)


def typed(value: Any) -> Any:
    """Make 1 and true, which Python calls equal, differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, value)


@settings(max_examples=150, deadline=None)
@given(mapping=MAPPINGS)
def test_both_parsers_read_back_what_went_in(render: Render, ruby: Parse,
                                             mapping: dict[str, Any]) -> None:
    document = render(mapping)
    expected = typed({"listeners": mapping})
    assert typed(ruby(document)) == expected
    assert typed(pyhocon.ConfigFactory.parse_string(document).as_plain_ordered_dict()) == expected


def test_null_is_not_rendered(render: Render) -> None:
    assert render({"a": None, "b": {"c": None}}).splitlines()[1:] == [
        "listeners {", "  b {", "  }", "}"]


def test_order_does_not_depend_on_the_mapping(render: Render) -> None:
    assert render({"b": 1, "a": {"d": 2, "C": 3, "c": 4}}) == render(
        {"a": {"c": 4, "C": 3, "d": 2}, "b": 1})


def test_what_a_person_reads(render: Render) -> None:
    assert render({"ssl": {"default": {
        "enable": True, "bind": "127.0.0.1:8883", "acceptors": 16,
        "ssl_options": {"versions": ["tlsv1.2", "tlsv1.3"], "handshake_timeout": "15s",
                        "keyfile": "/srv/clé.pem"}}}}) == """\
# rendered by roles/emqx_listeners from templates/listeners.hocon.j2, do not edit
listeners {
  ssl {
    default {
      acceptors = 16
      bind = "127.0.0.1:8883"
      enable = true
      ssl_options {
        handshake_timeout = "15s"
        keyfile = "/srv/clé.pem"
        versions = ["tlsv1.2", "tlsv1.3"]
      }
    }
  }
}
"""


def test_emqx_conf_names_the_node_its_peers_and_the_listeners(ruby: Parse) -> None:
    document = _template("emqx.conf.j2").render(
        emqx_listeners_node_name="emqx1@127.0.0.1", emqx_listeners_cluster_name="local",
        emqx_listeners_seeds=["emqx1@127.0.0.1", "emqx2@127.0.0.1"],
        emqx_listeners_include="/srv/config/listeners.hocon")
    settings_part, _, include = document.rpartition("include ")
    assert include == '"/srv/config/listeners.hocon"\n'
    assert ruby(settings_part) == {
        "node": {"name": "emqx1@127.0.0.1", "data_dir": "data"},
        "cluster": {"name": "local", "discovery_strategy": "static",
                    "static": {"seeds": ["emqx1@127.0.0.1", "emqx2@127.0.0.1"]}},
        "dashboard": {"listeners": {"http": {"bind": 18083}}}}
