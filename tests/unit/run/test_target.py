"""What a run is about is known without a connection, and without what makes one."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import (
    Balancer,
    Settings,
    Target,
)

PLUGINS = "ansible_collections.emqx.conformance.plugins.module_utils"


def target(*names: str, balancers: tuple[str, ...] = ()) -> Target:
    return Target({name: Endpoint(name, "127.0.0.1", 1, "localhost") for name in names}, Settings(),
                  balancers={name: Balancer(Endpoint(name, "127.0.0.1", 2, "localhost"))
                             for name in balancers})


def test_who_plans_imports_no_tls() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {PLUGINS}.run.target\nprint(*sys.modules)"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    imported = set(done.stdout.split())
    assert f"{PLUGINS}.run.target" in imported
    assert not {name for name in imported
                if name in ("ssl", "socket") or name.startswith(f"{PLUGINS}.tls")}


@pytest.mark.parametrize(("scope", "home", "elsewhere"), [
    ("node", Outcome.RESUMED, Outcome.FULL), ("cluster", Outcome.RESUMED, Outcome.RESUMED),
    ("none", Outcome.FULL, Outcome.FULL)])
def test_what_is_expected_goes_by_the_scope_of_the_cache(
        scope: str, home: Outcome, elsewhere: Outcome) -> None:
    settings = Settings(cache_scope=scope)
    assert (settings.expected("n1", "n1"), settings.expected("n1", "n2")) == (home, elsewhere)


def test_the_last_node_is_followed_by_the_first() -> None:
    three = target("n1", "n2", "n3")
    assert [three.next_after(name) for name in three.nodes] == ["n2", "n3", "n1"]


@pytest.mark.parametrize(("names", "balancers", "shared"), [
    (("n1", "n2"), (), ()), (("n1",), (), ("n1",)), (("n1", "n2"), ("lb",), ("lb",)),
    (("n1",), ("lb",), ("lb",))])
def test_an_address_of_several_nodes_is_a_balancer_or_the_only_one(
        names: tuple[str, ...], balancers: tuple[str, ...], shared: tuple[str, ...]) -> None:
    assert target(*names, balancers=balancers).shared_addresses == shared
