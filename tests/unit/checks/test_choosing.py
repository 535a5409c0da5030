"""Runs about chosen checks: what runs with them, what is told of the rest, and what they prove."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.report import summary, terminal
from ansible_collections.emqx.conformance.plugins.module_utils.report.page import Page
from ansible_collections.emqx.conformance.plugins.module_utils.report.results import judge
from ansible_collections.emqx.conformance.plugins.module_utils.run import choosing
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact
from ansible_collections.emqx.conformance.plugins.module_utils.run.choosing import Choice
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target

from tests.support.mqtt_broker import MqttBroker

ROOT = Path(__file__).parents[3]
IDS = [check.id for check in catalogue()]


def runs(choice: Choice) -> list[str]:
    """Return the checks that run, when nothing but the choice is against it."""
    unchosen = choice.why_not(catalogue())
    return [check for check in IDS if check not in unchosen]


def test_without_a_choice_everything_runs() -> None:
    assert runs(Choice()) == IDS


def test_what_a_chosen_check_needs_runs_with_it() -> None:
    needs = {check.id: {need.check for need in check.needs} for check in catalogue()}
    assert needs["CORE-04"] == {"CORE-03"}
    assert runs(Choice(("CORE-04",))) == ["CORE-01", "CORE-02", "CORE-03", "CORE-04"]
    for check in IDS:
        chosen = runs(Choice((check,)))
        assert check in chosen
        assert all(needs[one] <= set(chosen) for one in chosen)


def test_a_family_is_all_of_it() -> None:
    chosen = runs(Choice(("LIFE",)))
    assert {check for check in IDS if check.startswith("LIFE-")} < set(chosen)
    assert {check.partition("-")[0] for check in chosen} == {"CORE", "LIFE"}


def test_what_is_left_out_says_why_even_where_it_is_chosen() -> None:
    choice = Choice(("CORE",), {"CORE-09": "no tickets here"})
    assert "CORE-09" not in runs(choice)
    found = choice.why_not(catalogue())
    assert (found["CORE-09"].status, found["CORE-09"].reason, found["CORE-09"].message) == (
        "skipped", "not_chosen", "it is in resumption_skip_checks (no tickets here)")
    assert found["NEG-01"].message == "resumption_checks names others"


@pytest.mark.parametrize(("names", "left_out", "says"), [
    (["CORE-2"], {}, 'resumption_checks: there is no check or family CORE-2; did you mean "CORE'),
    (["core"], {}, 'resumption_checks: there is no check or family core; did you mean "CORE"?'),
    (["xyzzy"], {}, "resumption_checks: there is no check or family xyzzy."),
    ([], {"NEG-99": "x"}, "resumption_skip_checks: there is no check or family NEG-99"),
    ([], {"NEG-01": " "}, ("resumption_skip_checks does not say why NEG-01 is left out: write "
                           '{NEG-01: "the reason"}.')),
    ([], {"NEG-01": 7}, "resumption_skip_checks does not say why NEG-01 is left out")])
def test_what_makes_no_sense_is_refused(names: list[str], left_out: dict[str, Any],
                                        says: str) -> None:
    [problem] = choosing.problems(names, left_out, catalogue())
    assert problem.startswith(says)
    assert choosing.problems(["CORE", "SEC-01"], {"NEG": "noise"}, catalogue()) == []


def test_the_plan_and_its_price_follow() -> None:
    target = Target({name: Endpoint(name, "127.0.0.1", 1, "localhost") for name in ("a", "b")},
                    Settings(tls_versions=("tlsv1.2",)))
    whole = make_plan(target, catalogue(), Impact.NOISY)
    part = make_plan(target, catalogue(), Impact.NOISY, Choice(("CORE-02",)))
    assert [planned.check.id for planned in part.checks] == IDS
    assert [planned.check.id for planned in part.checks if planned.subjects] == [
        "CORE-01", "CORE-02"]
    assert 0 < part.handshakes["a"] < whole.handshakes["a"] / 10
    assert ("NEG-01   An unknown session ID leads to a full handshake: skipped: resumption_checks "
            "names others") in part.lines()


def row(check: str, status: str = "passed", level: str = "MUST") -> dict[str, Any]:
    return {"id": check, "subject": "a", "status": status, "reason": "", "message": "It is.",
            "level": level}


def cell(outcome: str) -> dict[str, Any]:
    return {"issuer": "a", "redeemer": "a", "outcome": outcome, "passed": outcome == "resumed"}


ROWS = [row("CORE-01"), row("CORE-02"), row("SEC-01", "skipped"), row("NEG-01", "skipped"),
        row("PERF-01", "skipped", "INFO")]


@pytest.mark.parametrize(("names", "left_out", "outcome", "verdict", "headline"), [
    (["CORE"], {}, "resumed", "passed",
     "2 of 2 chosen checks measured; 1 of 1 pairs as expected"),
    (["CORE-01"], {}, "not_measured", "passed", "1 of 1 chosen checks measured"),
    (["CORE-02", "SEC-01"], {}, "resumed", "error",
     ("1 of 2 chosen checks measured; 1 of 1 pairs as expected; nothing was measured of SEC-01")),
    (["SEC"], {}, "resumed", "error",
     "0 of 1 chosen checks measured; 1 of 1 pairs as expected; nothing was measured of SEC"),
    ([], {"NEG-01": "it fills a log"}, "resumed", "passed",
     "1 of 1 pairs as expected; without NEG-01, by resumption_skip_checks"),
    ([], {"PERF": "no time"}, "resumed", "passed", "1 of 1 pairs as expected"),
    ([], {"NEG-01": "x"}, "not_measured", "error",
     ("0 of 1 pairs as expected; no same-node pair was measured; without NEG-01, by "
      "resumption_skip_checks"))])
def test_the_verdict_is_about_what_was_chosen(
        names: list[str], left_out: dict[str, str], outcome: str, verdict: str,
        headline: str) -> None:
    chosen = {"checks": names, "skipped": left_out}
    assert judge(ROWS, [cell(outcome)], complete=True, chosen=chosen) == (verdict, headline)


def test_a_failure_of_what_a_chosen_check_needs_counts() -> None:
    rows = [row("CORE-01", "failed"), row("NEG-01", "skipped")]
    verdict, headline = judge(rows, [cell("not_measured")], complete=True,
                              chosen={"checks": ["NEG-01"], "skipped": {}})
    assert verdict == "failed"
    assert "CORE-01" in headline


@pytest.fixture
def broker(certificate: tuple[Path, Path]) -> Iterator[MqttBroker]:
    made = MqttBroker(*certificate)
    yield made
    made.stop()


def test_every_report_says_what_was_chosen_and_why_the_rest_was_not(
        run: Callable[..., dict[str, Any]], broker: MqttBroker) -> None:
    results = run([broker.port], checks=["CORE-02", "CORE-05"],
                  skip_checks={"CORE-05": "it takes long"})
    assert results["chosen"] == {"checks": ["CORE-02", "CORE-05"],
                                 "skipped": {"CORE-05": "it takes long"}}
    # To choose a check and to leave it out is to measure nothing of it.
    assert (results["verdict"], results["headline"]) == (
        "error", ("1 of 2 chosen checks measured; 1 of 1 pairs as expected; nothing was measured "
                  "of CORE-05; without CORE-05, by resumption_skip_checks"))
    run_ids = {one["id"] for one in results["checks"] if one["status"] != "skipped"}
    assert run_ids == {"CORE-01", "CORE-02"}
    assert results["budget"]["differences"] == []
    for text in ("\n".join(line.text for line in terminal.render(results, "reports/x", 200)),
                 summary.render(results, page=True).decode(),
                 Page(ROOT / "templates/report.html.j2").render(results).decode()):
        assert "it is in resumption_skip_checks (it takes long)" in text
        assert "1 of 2 chosen checks measured" in text


def test_a_pair_that_was_not_chosen_is_not_expected(
        run: Callable[..., dict[str, Any]], broker: MqttBroker) -> None:
    results = run([broker.port], checks=["CORE-01"])
    assert (results["verdict"], results["headline"]) == ("passed", "1 of 1 chosen checks measured")
    [only] = results["matrix"]
    assert (only["outcome"], only["reason"]) == ("not_measured", "not_chosen")


def test_a_request_with_an_unknown_check_is_refused(run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(v.RequestError, match='no check or family SEC-1; did you mean "SEC'):
        run([1], checks=["SEC-1"])
