"""Each listener is asked by a client that it lets in."""
from __future__ import annotations

from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.every_listener import (
    Asked,
    Listener,
    foretold,
    requests,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import TrustDomain

ASKED = Asked("ca.pem", Path("reports"))
DOMAINS = tuple(TrustDomain(name, port, f"{name}.pem", f"{name}.key")
                for name, port in (("plant", 2), ("vendors", 3)))


def listener(name: str, port: int, client: str | None = None,
             domains: tuple[TrustDomain, ...] = ()) -> Listener:
    return Listener(name, "127.0.0.1", port, "localhost", client and f"{client}.pem",
                    client and f"{client}.key", domains)


def test_there_is_one_run_for_each_client_and_the_first_asks_where_none_is_needed() -> None:
    found = requests([listener("n1/default", 1), listener("n1/plant", 2, "plant", DOMAINS),
                      listener("n1/vendors", 3, "vendors")], ASKED)
    assert [(run.trust.cert_file, list(run.target.nodes)) for run in found] == [
        ("plant.pem", ["n1/plant", "n1/default"]), ("vendors.pem", ["n1/vendors"])]
    assert [run.choice.names for run in found] == [("CORE-02", "SEC-01"), ("CORE-02",)]
    assert [dict(run.target.trust_domains) for run in found] == [{"n1/plant": DOMAINS}, {}]


def test_without_certificates_there_is_one_anonymous_run() -> None:
    (run,) = requests([listener("n1/default", 1), listener("n2/default", 2)], ASKED)
    assert run.trust.cert_file is None
    assert (run.target.driver, list(run.target.nodes)) == ("external", ["n1/default", "n2/default"])


def test_what_it_costs_is_told_for_every_run() -> None:
    said = " ".join(foretold([listener("n1/plant", 2, "plant"), listener("n1/other", 3, "other")],
                             ASKED))
    assert "n1/plant" in said
    assert "n1/other" in said
