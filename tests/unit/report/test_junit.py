"""junit.xml against the schemas of those who read it, and what it makes of each status."""
from __future__ import annotations

import copy
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import junit, vantage

from tests.support.junit_schemas import SUREFIRE, validate
from tests.support.results import finding, result

STATUSES = ("passed", "failed", "known", "warned", "info", "skipped", "error")
HOSTILE = "x\x00\x1b[31m\ud800 <b>&\"' ]]> \r\n" + "long " * 10_000


def every_status(**changed: Any) -> dict[str, Any]:
    """A result with a finding of each status on each of two nodes, in two families."""
    return result(["n1", "n2"], [
        finding(f"{family}-{number:02d}", name, status)
        for family in ("CORE", "NEG") for number, status in enumerate(STATUSES, 1)
        for name in ("n1", "n2")], verdict="failed", **changed)


def from_everywhere() -> dict[str, Any]:
    """The same from three places, one of which was not probed from."""
    near, far = vantage.VantagePoint("near.example", "h1"), vantage.VantagePoint("far", "h2")
    third = vantage.VantagePoint("third", "h3")
    return vantage.merged(every_status(), [
        vantage.measured(near, every_status(), python="3.11", openssl="OpenSSL 3"),
        vantage.measured(third, every_status(), python="3.11", openssl="OpenSSL 3"),
        vantage.not_measured(far, "it is gone")])


def hostile() -> dict[str, Any]:
    """A target that says what XML forbids, and much of it."""
    return every_status(headline=HOSTILE, notes=[HOSTILE, HOSTILE]) | {"checks": [
        finding("CORE-01", status + HOSTILE, status, HOSTILE) for status in STATUSES]}


RESULTS = {"all passed": result(["n1"], [finding("CORE-01", "n1", "passed")]),
           "every status": every_status(), "no finding": result(["n1"], []),
           "from everywhere": from_everywhere(), "hostile": hostile()}


@pytest.mark.parametrize("name", RESULTS)
def test_it_is_what_surefire_and_jenkins_read(name: str) -> None:
    validate(junit.render(RESULTS[name]))


@pytest.mark.parametrize("damage", [
    lambda suite: suite.set("timestamp", "2026-01-01T00:00:00"),
    lambda suite: suite.attrib.pop("errors"),
    lambda suite: suite.set("time", "1e-05"),
    lambda suite: suite[0].attrib.pop("time"),
    lambda suite: suite[0].append(ET.Element("failure", type="late")),
    lambda suite: suite.append(ET.Element("properties")),
])
def test_the_schema_would_notice(damage: Any) -> None:
    [suite, *_] = ET.fromstring(junit.render(RESULTS["all passed"]))
    assert SUREFIRE.is_valid(suite)
    damage(suite)
    assert not SUREFIRE.is_valid(suite)


@pytest.mark.parametrize("name", RESULTS)
def test_counts_are_those_of_the_cases_and_names_are_unique(name: str) -> None:
    root = ET.fromstring(junit.render(RESULTS[name]))
    totals = dict.fromkeys(("tests", "failures", "errors"), 0)
    for suite in root:
        cases = suite.findall("testcase")
        counted = {"tests": len(cases), **{
            key: sum(case.find(tag) is not None for case in cases)
            for key, tag in (("failures", "failure"), ("errors", "error"),
                             ("skipped", "skipped"))}}
        assert {key: int(suite.get(key, "")) for key in counted} == counted
        for key in totals:
            totals[key] += counted[key]
    assert {key: int(root.get(key, "")) for key in totals} == totals
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"\d+\.\d{3}", case.get("time", "")) for case in root.iter("testcase"))


def test_what_each_status_becomes() -> None:
    root = ET.fromstring(junit.render(every_status()))
    cases = {case.get("classname"): case for case in root.iter("testcase")}
    became = {status: [child.tag for child in cases[f"CORE-{number:02d}"]]
              for number, status in enumerate(STATUSES, 1)}
    assert became == {
        "passed": ["system-out"], "failed": ["failure"], "known": ["skipped"],
        "warned": ["system-out"], "info": ["system-out"], "skipped": ["skipped"],
        "error": ["error"]}
    failure = cases["CORE-02"][0]
    assert (failure.get("type"), failure.get("message"), failure.text) == (
        "failed_somehow", "n2 is failed", "RFC 5246 7.3 (MUST): n2 is failed")
    assert cases["CORE-04"][0].text == "warned: n2 is warned"


def test_long_texts_are_cut_and_say_so() -> None:
    document = junit.render(hostile())
    assert len(document) < 40 * junit._MOST
    failure = next(ET.fromstring(document).iter("failure"))
    assert re.search(r"\.\.\. and \d+ more characters, which results\.json has$",
                     failure.get("message", ""))


def test_when_it_began_is_a_property() -> None:
    began = ET.fromstring(junit.render(copy.deepcopy(every_status()))).find(
        "./testsuite[@name='verdict']/properties/property[@name='started_at']")
    assert began is not None
    assert began.get("value") == "2026-01-02T03:04:05.678Z"
