"""What a user is told before the first connection."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC

DOMAINS = [{"node": "n1", "name": f"d{number}", "port": 9000 + number, "client_cert": "c.pem",
            "client_key": "k.pem"} for number in (1, 2)]


def told(count: int = 3, **changed: Any) -> list[str]:
    spec: Any = ARGUMENT_SPEC
    params = {**{name: option.get("default") for name, option in spec.items()},
              "nodes": [{"name": f"n{number}", "host": "192.0.2.1", "port": 8000 + number}
                        for number in range(1, count + 1)],
              "rate_limit": 50.0, "reports_dir": "reports", **changed}
    wanted = v.request(params)
    lines = v.announced(wanted)
    assert set(lines) <= set(v.foretold(wanted))  # --check tells the same
    return lines


def line(lines: list[str], head: str) -> str:
    (found,) = [line for line in lines if line.startswith(f"{head}: ")]
    return found


def test_budget_and_rate_are_the_plans() -> None:
    lines = told()
    budget = line(lines, "Budget")
    total, each = (int(word) for word in (budget.split()[1], budget.split()[3]))
    assert total == 3 * each
    assert f"{each} with each of n1, n2, n3, of which " in budget
    assert budget.endswith("(limit 10)")
    assert line(lines, "Rate") == (
        "Rate: 50 handshakes a second with a node at most (resumption_rate_limit), so it takes "
        f"{(each - 1) / 50:.1f} s or more")
    assert line(told(rate_limit=None), "Rate") == (
        "Rate: as fast as they are answered, since resumption_rate_limit is 0")


def test_the_timeout_is_told_with_its_variable_and_its_default() -> None:
    each = "TCP connect and TLS handshake, and again for CONNECT to CONNACK (resumption_timeout)"
    assert line(told(), "Timeout") == f"Timeout: 5 s for {each}"
    assert line(told(timeout=8.0), "Timeout") == f"Timeout: 8 s instead of 5 for {each}"


def test_many_nodes_are_not_all_named() -> None:
    assert "with each of 20 nodes, of which" in line(told(20), "Budget")


def test_nodes_that_differ_are_told_apart() -> None:
    budget = line(told(trust_domains=DOMAINS), "Budget")
    assert "with n1, of which" in budget
    assert "with each of n2, n3, of which" in budget


@pytest.mark.parametrize(("impact", "says"), [
    ("safe", "Impact: safe: nothing on any host is changed"),
    ("noisy", "Impact: noisy: nothing on any host is changed; some hellos are malformed"),
    ("disruptive", "Impact: disruptive: caches are filled, and nodes that can be driven"),
])
def test_what_is_done_to_the_target(impact: str, says: str) -> None:
    assert line(told(max_impact=impact), "Impact").startswith(says)


def test_alerts_are_announced_where_there_are_any() -> None:
    assert not [line for line in told() if line.startswith("Alerts")]
    # Two clients refused at each other's listener, twice each; and a client without certificate,
    # twice at each.
    assert line(told(trust_domains=DOMAINS), "Alerts") == (
        "Alerts: 8 of these are refused on purpose, by n1, which may log an alert for each "
        "(SEC-01, SEC-02)")


def test_what_a_node_of_mqtt_3_logs_is_announced() -> None:
    assert "password" not in line(told(), "MQTT")
    assert "malformed, password included" in line(
        told(mqtt_username="u", mqtt_password="hidden"), "MQTT")  # noqa: S106 - of nobody
    assert "hidden" not in " ".join(told(mqtt_username="u", mqtt_password="hidden"))  # noqa: S106
    assert not [line for line in told(mqtt_version="3.1.1") if line.startswith("MQTT")]


def test_whose_signature_counts() -> None:
    assert line(told(), "Trust") == (
        "Trust: the CAs are those of the system's store, since resumption_ca is not "
        "set; the client has no certificate")
    assert line(told(ca="ca.pem", client_cert="c.pem", client_key="k.pem"), "Trust") == (
        "Trust: the CAs are those of ca.pem; the client shows c.pem")


def test_what_may_come_on_top_is_told_with_its_bound() -> None:
    head = "More, where it is needed"
    assert line(told(), head) == (
        f"{head}: with each of n1, n2, n3, up to 28 for sessions that grow old or that an alert "
        "spoils, up to 12 to tell why a session does not resume, up to 69 to tell why connections "
        "are cut off and make them again, up to 1 to find out what a node does not speak")
    assert "up to 3 to find out" in line(told(mqtt_password="hidden"), head)  # noqa: S106 - nobody's
    assert "to find out" not in line(told(mqtt_version="3.1.1"), head)
    # Nodes that are driven from here may be down, and are not asked why.
    assert "cut off" not in line(told(driver="embedded", cluster_name="c"), head)


def test_polls_are_told_where_nodes_are_disturbed() -> None:
    assert not [line for line in told(driver="embedded", cluster_name="c")
                if line.startswith("Readiness")]
    # Each of three is restarted and killed.
    assert line(told(driver="embedded", cluster_name="c", max_impact="disruptive",
                     session_cache_max=60), "Readiness").startswith(
        "Readiness: 6 handshakes more with each node, to see whether all are ready after one ")


def test_what_comes_on_top_from_vantage_points_is_told_too() -> None:
    lines = told(vantage=[{"name": "v1", "host": "192.0.2.9"}, {"name": "v2", "host": "192.0.2.8"}])
    assert line(lines, "From each: More, where it is needed").endswith(
        "up to 1 to find out what a node does not speak")


def test_where_many_nodes_differ_the_most_of_all_is_told() -> None:
    domains = [{"node": f"n{node}", "name": f"d{number}", "port": 9000 + number,
                "client_cert": "c.pem", "client_key": "k.pem"}
               for node in range(1, 8) for number in range(node)]
    lines = [line for line in told(8, session_cache_max=10000, trust_domains=domains)
             if line.startswith("More")]
    assert len(lines) == 6
    # 7 domains: 2 * 7 * 6 in SEC-01 and 2 * 7 in SEC-02 more than without; and once back at home, 3
    # in each of the 7 and 3 at the ordinary listener.
    plain = line(told(8, session_cache_max=10000), "More, where it is needed")
    without = int(plain.split("up to ")[1].split()[0])
    assert lines[-1].startswith(
        f"More, with the other nodes: up to {without + 2 + 84 + 14 + 21 + 3} for sessions")
